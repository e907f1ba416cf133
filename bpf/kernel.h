/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * The few fields of the kernel's own structures that the programs read. The
 * loader finds where they lie in the kernel that runs (CO-RE); the layout
 * written here means nothing.
 */
#ifndef WEFT_KERNEL_H
#define WEFT_KERNEL_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
};

struct file {
	const struct cred *f_cred;
};

struct socket {
	struct file *file;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
};

struct tcp_sock {
	_Bool is_mptcp; /* Linux 5.6, CONFIG_MPTCP */
};

/* What the helpers get where a program sees struct bpf_sock_addr. */
struct bpf_sock_addr_kern {
	struct sock *sk;
};

/* What the helpers get where a program sees struct bpf_sock_ops. */
struct bpf_sock_ops_kern {
	struct sock *sk;
};

/* What the helpers get where a program sees struct bpf_sk_lookup. */
struct bpf_sk_lookup_kern {
	__u32 ingress_ifindex; /* Linux 5.17 */
};

#pragma clang attribute pop

#endif
