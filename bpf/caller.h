/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * The caller's side: its socket is sent to loopback before a packet is made,
 * and is told afterwards that it is where it wanted to go.
 */
#ifndef WEFT_CALLER_H
#define WEFT_CALLER_H

/*
 * send fills in where a call goes. Two calls from one bound port would be one
 * connection if both went to the same place: they are spread over 127.128.0.0/9
 * and, as IPv6 has one loopback address only, over ports of ::1. The program on
 * the listener's side knows them by their flow.
 */
static __always_inline void send(const struct config *c, struct call *call, int v4, __u32 bound)
{
	__u32 hash = 0;

	call->sent_port = call->kind == TO_DNS ? c->dns_to : c->outbound_to;
	if (bound && call->kind == TO_PROXY) {
		hash = (call->wanted.w[0] ^ call->wanted.w[1] ^ call->wanted.w[2] ^ call->wanted.w[3]) + call->wanted_port;
		hash *= 2654435761u; /* Knuth: 2^32 by the golden ratio */
		hash >>= 9;
	}
	if (v4) {
		mapped(&call->sent, bpf_htonl(hash ? 0x7f800000 | hash : 0x7f000001));
		return;
	}
	call->sent.w[0] = 0;
	call->sent.w[1] = 0;
	call->sent.w[2] = 0;
	call->sent.w[3] = bpf_htonl(1);
	if (hash)
		call->sent_port = 0x8000 | (hash & 0x7fff);
}

/* redirect returns the call that is to be sent elsewhere, or none. */
static __always_inline struct call *redirect(struct bpf_sock_addr *ctx, const struct address *to)
{
	const struct config *c = in_force();
	__u16 port = bpf_ntohs(ctx->user_port);
	struct bpf_sock *sk = ctx->sk;
	struct call *call;
	int kind;

	if (!c || !sk || bpf_get_netns_cookie(ctx) != c->netns)
		return NULL;
	kind = decide(ctx, c, sk, to, port);
	if (!kind)
		return NULL;
	call = bpf_sk_storage_get(&calls, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!call) {
		count(N_FULL);
		return NULL;
	}
	call->wanted = *to;
	call->wanted_port = port;
	call->kind = kind;
	send(c, call, is_mapped(to), ctx->protocol == IPPROTO_TCP ? sk->src_port : 0);
	count(kind == TO_DNS ? N_DNS : N_PROXY);
	return call;
}

static __always_inline void user_ip6(struct bpf_sock_addr *ctx, struct address *a)
{
	a->w[0] = ctx->user_ip6[0];
	a->w[1] = ctx->user_ip6[1];
	a->w[2] = ctx->user_ip6[2];
	a->w[3] = ctx->user_ip6[3];
}

static __always_inline void set_user_ip6(struct bpf_sock_addr *ctx, const struct address *a)
{
	ctx->user_ip6[0] = a->w[0];
	ctx->user_ip6[1] = a->w[1];
	ctx->user_ip6[2] = a->w[2];
	ctx->user_ip6[3] = a->w[3];
}

static __always_inline int take(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

/*
 * forget what an earlier connect of the same socket left. What another instance
 * of this program sent just now stays.
 */
static __always_inline void forget(struct bpf_sock_addr *ctx, const struct address *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct call *call;

	if (!sk)
		return;
	call = bpf_sk_storage_get(&calls, sk, NULL, 0);
	if (call && !(same(to, &call->sent) && bpf_ntohs(ctx->user_port) == call->sent_port))
		bpf_sk_storage_delete(&calls, sk);
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
	struct address to;
	struct call *call;

	if (!take(ctx))
		return 1;
	mapped(&to, ctx->user_ip4);
	call = redirect(ctx, &to);
	if (!call) {
		forget(ctx, &to);
		return 1;
	}
	ctx->user_ip4 = call->sent.w[3];
	ctx->user_port = bpf_htons(call->sent_port);
	return 1;
}

/* An IPv6 socket that calls a mapped address sends IPv4, but comes by here. */
SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
	struct address to;
	struct call *call;

	if (!take(ctx))
		return 1;
	user_ip6(ctx, &to);
	call = redirect(ctx, &to);
	if (!call) {
		forget(ctx, &to);
		return 1;
	}
	set_user_ip6(ctx, &call->sent);
	ctx->user_port = bpf_htons(call->sent_port);
	return 1;
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct address to;
	struct call *call;

	if (ctx->user_port != bpf_htons(DNS_PORT))
		return 1;
	mapped(&to, ctx->user_ip4);
	call = redirect(ctx, &to);
	if (!call)
		return 1;
	ctx->user_ip4 = call->sent.w[3];
	ctx->user_port = bpf_htons(call->sent_port);
	return 1;
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct address to;
	struct call *call;

	if (ctx->user_port != bpf_htons(DNS_PORT))
		return 1;
	user_ip6(ctx, &to);
	call = redirect(ctx, &to);
	if (!call)
		return 1;
	set_user_ip6(ctx, &call->sent);
	ctx->user_port = bpf_htons(call->sent_port);
	return 1;
}

/* wanted is the call of a socket that hears from, or asks for, where it was sent. */
static __always_inline struct call *wanted(struct bpf_sock_addr *ctx, const struct address *peer)
{
	struct bpf_sock *sk = ctx->sk;
	struct call *call;

	if (!sk)
		return NULL;
	call = bpf_sk_storage_get(&calls, sk, NULL, 0);
	if (!call || !same(peer, &call->sent) || bpf_ntohs(ctx->user_port) != call->sent_port)
		return NULL;
	return call;
}

static __always_inline int reveal4(struct bpf_sock_addr *ctx)
{
	struct address peer;
	struct call *call;

	mapped(&peer, ctx->user_ip4);
	call = wanted(ctx, &peer);
	if (call) {
		ctx->user_ip4 = call->wanted.w[3];
		ctx->user_port = bpf_htons(call->wanted_port);
	}
	return 1;
}

static __always_inline int reveal6(struct bpf_sock_addr *ctx)
{
	struct address peer;
	struct call *call;

	user_ip6(ctx, &peer);
	call = wanted(ctx, &peer);
	if (call) {
		set_user_ip6(ctx, &call->wanted);
		ctx->user_port = bpf_htons(call->wanted_port);
	}
	return 1;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	return reveal4(ctx);
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	return reveal6(ctx);
}

SEC("cgroup/getpeername4")
int weft_peername4(struct bpf_sock_addr *ctx)
{
	return reveal4(ctx);
}

SEC("cgroup/getpeername6")
int weft_peername6(struct bpf_sock_addr *ctx)
{
	return reveal6(ctx);
}

#endif
