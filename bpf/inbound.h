/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * The listener's side: which socket gets a connection that begins. Addresses
 * and ports stay as they are, and the host's firewall has decided already.
 */
#ifndef WEFT_INBOUND_H
#define WEFT_INBOUND_H

/* give hands a connection to a listener of the proxy, and refuses it where there is none. */
static __always_inline int give(struct bpf_sk_lookup *ctx, __u16 port, __u8 kind, __u32 counted)
{
	struct listener_key key = { .port = port, .kind = kind, .family = ctx->family == AF_INET ? 4 : 6 };
	struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &key);
	long err;

	if (!sk && key.family == 4) {
		key.family = 6; /* one that takes both */
		sk = bpf_map_lookup_elem(&listeners, &key);
	}
	if (!sk) {
		count(N_REFUSED);
		return SK_DROP;
	}
	err = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	if (err) {
		count(N_REFUSED);
		return SK_DROP;
	}
	count(counted);
	return SK_PASS;
}

SEC("sk_lookup")
int weft_lookup(struct bpf_sk_lookup *ctx)
{
	const struct config *c = in_force();
	struct flow_key key;
	struct target *target;
	int own;

	if (!c || ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	key.local_port = ctx->local_port;
	key.remote_port = bpf_ntohs(ctx->remote_port);
	pick(&key.remote, ctx->family == AF_INET, ctx->remote_ip4, ctx->remote_ip6);
	pick(&key.local, ctx->family == AF_INET, ctx->local_ip4, ctx->local_ip6);
	/* For calls to an address of a device the kernel names that device, and
	 * not the loopback: the address of the caller tells. */
	own = is_local(&key.remote);
	target = own ? bpf_map_lookup_elem(&flows, &key) : NULL;
	if (target && target->kind == TO_PROXY)
		return give(ctx, c->outbound_to, TO_PROXY, N_PROXY);
	if (trial_over(c))
		return SK_PASS;
	if ((c->outbound_to && key.local_port == c->outbound_to) || (c->inbound_to && key.local_port == c->inbound_to)) {
		count(N_REFUSED); /* the proxy would call itself */
		return SK_DROP;
	}
	if (!c->inbound_to || !has_port(c->inbound_ports, key.local_port))
		return SK_PASS;
	if (own)
		return target ? give(ctx, c->inbound_to, TO_INBOUND, N_SELF) : SK_PASS;
	if (within(c, HAS_SOURCES, SOURCES, &key.remote))
		return SK_PASS;
	if (c->flags & HAS_INTERFACES) {
		struct interface_key in = { .generation = c->generation };

		if (bpf_core_field_exists(((struct bpf_sk_lookup_kern *)0)->ingress_ifindex))
			in.index = ctx->ingress_ifindex;
		if (bpf_map_lookup_elem(&interfaces, &in))
			return SK_PASS;
	}
	return give(ctx, c->inbound_to, TO_INBOUND, N_INBOUND);
}

#endif
