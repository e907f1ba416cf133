/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * From the caller's socket to the proxy's. The flow is written down before the
 * first packet leaves, with the source port known, and taken up when the
 * proxy's end of the connection comes to be, which is before the proxy can
 * accept it: nobody can be too early or too late.
 */
#ifndef WEFT_CONNECTION_H
#define WEFT_CONNECTION_H

#define SOL_IP 0
#define SOL_IPV6 41
#define SO_ORIGINAL_DST 80 /* and IP6T_SO_ORIGINAL_DST */
#define AF_INET 2
#define AF_INET6 10

static __always_inline int in_netns(struct bpf_sock_ops *ctx, const struct config *c)
{
	struct sock *sk = BPF_CORE_READ((struct bpf_sock_ops_kern *)ctx, sk);

	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) == c->netns_inode;
}

static __always_inline void local(struct bpf_sock_ops *ctx, struct address *a, int v4)
{
	pick(a, v4, ctx->local_ip4, ctx->local_ip6);
}

static __always_inline void remote(struct bpf_sock_ops *ctx, struct address *a, int v4)
{
	pick(a, v4, ctx->remote_ip4, ctx->remote_ip6);
}

/* callers makes the flow's key of the caller's socket. */
static __always_inline void callers(struct bpf_sock_ops *ctx, struct flow_key *key, int v4)
{
	local(ctx, &key->remote, v4);
	remote(ctx, &key->local, v4);
	key->remote_port = ctx->local_port;
	key->local_port = bpf_ntohl(ctx->remote_port);
}

static __always_inline void publish(struct bpf_sock_ops *ctx, const struct flow_key *key, const struct target *target)
{
	if (bpf_map_update_elem(&flows, key, target, BPF_ANY)) {
		count(N_FULL);
		return; /* and the listener's side refuses it */
	}
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void connecting(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct call *call = bpf_sk_storage_get(&calls, sk, NULL, 0);
	const struct config *c;
	struct flow_key key;
	struct target target = {};

	if (call) {
		if (call->kind != TO_PROXY)
			return;
		callers(ctx, &key, is_mapped(&call->sent));
		target.address = call->wanted;
		target.port = call->wanted_port;
		target.kind = TO_PROXY;
		publish(ctx, &key, &target);
		return;
	}
	/* A call of the proxy to its own host is an inbound one. */
	c = in_force();
	if (!c || !c->inbound_to || !c->mark_mask || (sk->mark & c->mark_mask) != c->mark_outbound)
		return;
	callers(ctx, &key, ctx->family == AF_INET);
	if (!has_port(c->inbound_ports, key.local_port) || !in_netns(ctx, c))
		return;
	target.kind = TO_INBOUND;
	publish(ctx, &key, &target);
}

static __always_inline void accepting(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	const struct config *c = in_force();
	struct flow_key key;
	struct target *target, *mine;
	int v4 = ctx->family == AF_INET;

	if (!c || !in_netns(ctx, c))
		return;
	remote(ctx, &key.remote, v4);
	local(ctx, &key.local, v4);
	key.remote_port = bpf_ntohl(ctx->remote_port);
	key.local_port = ctx->local_port;
	target = bpf_map_lookup_elem(&flows, &key);
	if (!target)
		return;
	if (target->kind == TO_PROXY) {
		mine = bpf_sk_storage_get(&accepted, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (mine)
			*mine = *target;
		else
			count(N_FULL); /* the proxy is told that there is no destination, and closes */
	}
	bpf_map_delete_elem(&flows, &key);
}

/* closing a connection whose other end never came to be. */
static __always_inline void closing(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct call *call = bpf_sk_storage_get(&calls, sk, NULL, 0);
	struct flow_key key;
	__u32 family = ctx->family;

	barrier_var(family);
	callers(ctx, &key, call ? is_mapped(&call->sent) : family == AF_INET);
	bpf_map_delete_elem(&flows, &key);
}

/* is_subflow tells a part of an MPTCP socket, which may be in no map of sockets. */
static __always_inline int is_subflow(struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tp = (struct tcp_sock *)BPF_CORE_READ((struct bpf_sock_ops_kern *)ctx, sk);

	return bpf_core_field_exists(tp->is_mptcp) && BPF_CORE_READ(tp, is_mptcp);
}

/* listening takes the proxy's listeners as they come to be. */
static __always_inline void listening(struct bpf_sock_ops *ctx)
{
	const struct config *c = in_force();
	struct address at;
	struct listener_key key = { .port = ctx->local_port };
	int v4 = ctx->family == AF_INET, any;

	if (!c || !key.port || (key.port != c->inbound_to && key.port != c->outbound_to) || !in_netns(ctx, c) || is_subflow(ctx))
		return;
	local(ctx, &at, v4);
	any = v4 ? at.w[3] == 0 : (at.w[0] | at.w[1] | at.w[2] | at.w[3]) == 0;
	key.family = v4 ? 4 : 6;
	key.kind = key.port == c->inbound_to ? TO_INBOUND : TO_PROXY;
	if (!any && (key.kind == TO_INBOUND || !is_loopback(&at)))
		return; /* somebody else's, at an address of his own */
	bpf_sock_hash_update(ctx, &listeners, &key, any && key.kind == TO_PROXY ? BPF_NOEXIST : BPF_ANY);
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		sk = ctx->sk;
		if (sk)
			connecting(ctx, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ctx->sk;
		if (sk)
			accepting(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		sk = ctx->sk;
		if (sk && ctx->args[1] == BPF_TCP_CLOSE)
			closing(ctx, sk);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		listening(ctx);
		break;
	}
	return 1;
}

struct original4 {
	__u16 family;
	__u16 port;
	__u32 address;
	__u64 zero;
};

struct original6 {
	__u16 family;
	__u16 port;
	__u32 flow;
	struct address address;
	__u32 scope;
};

/*
 * weft_getsockopt answers one question and leaves all others as the kernel
 * answered them: for what is longer than the page that programs are shown, an
 * optlen of 0 says so.
 */
SEC("cgroup/getsockopt")
int weft_getsockopt(struct bpf_sockopt *ctx)
{
	void *value = ctx->optval, *end = ctx->optval_end;
	struct bpf_sock *sk = ctx->sk;
	struct target *target = NULL;

	if (ctx->optname == SO_ORIGINAL_DST && (ctx->level == SOL_IP || ctx->level == SOL_IPV6) && sk)
		target = bpf_sk_storage_get(&accepted, sk, NULL, 0);
	if (target && ctx->level == SOL_IP && is_mapped(&target->address)) {
		struct original4 *o = value;

		if ((void *)(o + 1) > end)
			return 1;
		o->family = AF_INET;
		o->port = bpf_htons(target->port);
		o->address = target->address.w[3];
		o->zero = 0;
		ctx->optlen = sizeof(*o);
		barrier(); /* or both would be written at once */
		ctx->retval = 0;
		return 1;
	}
	if (target && ctx->level == SOL_IPV6 && !is_mapped(&target->address)) {
		struct original6 *o = value;

		if ((void *)(o + 1) > end)
			return 1;
		o->family = AF_INET6;
		o->port = bpf_htons(target->port);
		o->flow = 0;
		o->address = target->address;
		o->scope = 0;
		ctx->optlen = sizeof(*o);
		barrier(); /* or both would be written at once */
		ctx->retval = 0;
		return 1;
	}
	if (ctx->optlen > (__s32)(end - value))
		ctx->optlen = 0;
	return 1;
}

#endif
