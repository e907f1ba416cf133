/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * What becomes of a call: the rules, in the order in which they decide.
 */
#ifndef WEFT_DECIDE_H
#define WEFT_DECIDE_H

#define LOOPBACK_IFINDEX 1
#define DNS_PORT 53

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &what);

	if (n)
		(*n)++;
}

static __always_inline const struct config *in_force(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&current, &zero);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline int holds(__u32 which)
{
	__u64 *deadline = bpf_map_lookup_elem(&leases, &which);

	return deadline && bpf_ktime_get_ns() < *deadline;
}

/* trial_over tells that nobody confirmed the rules: all goes as if there were none. */
static __always_inline int trial_over(const struct config *c)
{
	return (c->flags & HAS_TRIAL) && !holds(TRIAL);
}

static __always_inline int leased(const struct config *c)
{
	return !(c->flags & HAS_LEASE) || holds(LEASE);
}

static __always_inline void mapped(struct address *a, __u32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = v4;
}

/*
 * pick takes an address from a context. All words are read whatever the family
 * is: where clang chooses the place to read from, the verifier no longer knows it.
 */
#define pick(a, v4, ip4, ip6)                                             \
	do {                                                              \
		__u32 _v4 = (v4), _ip4 = (ip4);                           \
		__u32 _0 = (ip6)[0], _1 = (ip6)[1], _2 = (ip6)[2], _3 = (ip6)[3]; \
		barrier_var(_ip4);                                        \
		barrier_var(_0);                                          \
		barrier_var(_1);                                          \
		barrier_var(_2);                                          \
		barrier_var(_3);                                          \
		(a)->w[0] = _v4 ? 0 : _0;                                 \
		(a)->w[1] = _v4 ? 0 : _1;                                 \
		(a)->w[2] = _v4 ? bpf_htonl(0xffff) : _2;                 \
		(a)->w[3] = _v4 ? _ip4 : _3;                              \
	} while (0)

static __always_inline int is_mapped(const struct address *a)
{
	return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == bpf_htonl(0xffff);
}

static __always_inline int same(const struct address *a, const struct address *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

/* is_loopback takes the unspecified address for loopback, as the kernel does. */
static __always_inline int is_loopback(const struct address *a)
{
	if (is_mapped(a))
		return (bpf_ntohl(a->w[3]) >> 24) == 127 || a->w[3] == 0;
	return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == 0 && (a->w[3] == bpf_htonl(1) || a->w[3] == 0);
}

static __always_inline int lies_in(__u32 generation, __u32 kind, const struct address *a)
{
	struct network_key key = {
		.length = 64 + 128,
		.generation = generation,
		.kind = is_mapped(a) ? kind : kind | IPV6,
		.address = *a,
	};

	return bpf_map_lookup_elem(&networks, &key) != NULL;
}

static __always_inline int within(const struct config *c, __u32 flag, __u32 kind, const struct address *a)
{
	return (c->flags & flag) && lies_in(c->generation, kind, a);
}

static __always_inline int is_local(const struct address *a)
{
	return is_loopback(a) || lies_in(0, LOCALS, a);
}

static __always_inline int has_port(const __u64 *ports, __u16 port)
{
	return (ports[(port >> 6) & (PORT_WORDS - 1)] >> (port & 63)) & 1;
}

static __always_inline __u32 roles_of(const struct config *c, __u32 by, __u64 id)
{
	struct owner_key key = { .generation = c->generation, .by = by, .id = id };
	__u32 *roles = bpf_map_lookup_elem(&owners, &key);

	return roles ? *roles : 0;
}

#define MAX_CGROUP_DEPTH 32

/*
 * roles tells whose the call is. User and group are those with which the socket
 * was made, as a packet filter sees them; the cgroup is where the caller is.
 */
static __always_inline __u32 roles(struct bpf_sock_addr *ctx, const struct config *c)
{
	__u32 found = 0;

	if (c->flags & (HAS_UIDS | HAS_GIDS)) {
		struct sock *sk = BPF_CORE_READ((struct bpf_sock_addr_kern *)ctx, sk);
		struct file *file = BPF_CORE_READ(sk, sk_socket, file);

		if (file) { /* the kernel's own sockets have none, and no owner */
			if (c->flags & HAS_UIDS)
				found |= roles_of(c, BY_UID, BPF_CORE_READ(file, f_cred, fsuid.val));
			if (c->flags & HAS_GIDS)
				found |= roles_of(c, BY_GID, BPF_CORE_READ(file, f_cred, fsgid.val));
		}
	}
	if (c->flags & HAS_CGROUPS) {
		for (int level = 0; level < MAX_CGROUP_DEPTH; level++) {
			__u64 id = bpf_get_current_ancestor_cgroup_id(level);

			if (!id)
				break;
			found |= roles_of(c, BY_CGROUP, id);
		}
	}
	return found;
}

/* decide returns where a call to an address goes: 0 is straight. */
static __always_inline int decide(struct bpf_sock_addr *ctx, const struct config *c, struct bpf_sock *sk, const struct address *to, __u16 port)
{
	__u32 mark = sk->mark & c->mark_mask;
	__u32 who;
	int kind = 0;

	if (trial_over(c))
		return 0;
	if (mark && (mark == c->mark_outbound || mark == c->mark_inbound || mark == c->mark_agent))
		return 0;
	who = roles(ctx, c);
	if (who & IS_PROXY)
		return 0;
	if ((c->flags & HAS_ONLY) && !(who & IS_ENROLLED))
		return 0;

	if (c->dns_to && port == DNS_PORT && (who & IS_RESOLVER))
		return 0;
	if (c->dns_to && port == DNS_PORT && leased(c)) {
		kind = TO_DNS;
	} else if (c->outbound_to && ctx->protocol == IPPROTO_TCP) {
		if (within(c, HAS_VIPS, VIPS, to))
			kind = TO_PROXY;
		else if (!leased(c) || is_local(to) || within(c, HAS_DESTINATIONS, DESTINATIONS, to) ||
			 has_port(c->excluded_ports, port) || (who & IS_EXCLUDED))
			return 0;
		else
			kind = TO_PROXY;
	}
	if (kind && sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_IFINDEX) {
		count(N_DIRECT); /* bound to a device, it cannot reach loopback */
		return 0;
	}
	return kind;
}

#endif
