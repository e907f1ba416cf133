/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * The maps, and what lies in them. pkg/redirect/ebpf writes config, networks,
 * owners, interfaces and leases; the programs write the others.
 *
 * LAYOUT is the version of all this: programs may take over maps of their own
 * layout only. Whoever changes a structure or what it means raises it.
 */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#define LAYOUT 1

/* An address is 16 bytes everywhere; IPv4 is mapped (::ffff:a.b.c.d). */
struct address {
	__u32 w[4];
};

/* Flags of a config: what has to be asked at all. */
enum {
	HAS_LEASE = 1 << 0,      /* rules.failOpen */
	HAS_TRIAL = 1 << 1,      /* rules.confirmWithin */
	HAS_ONLY = 1 << 2,       /* outbound.only */
	HAS_UIDS = 1 << 3,       /* owners told by user */
	HAS_GIDS = 1 << 4,       /* by group */
	HAS_CGROUPS = 1 << 5,    /* by cgroup */
	HAS_VIPS = 1 << 6,       /* networks of the kinds VIPS, … */
	HAS_DESTINATIONS = 1 << 7,
	HAS_SOURCES = 1 << 8,
	HAS_INTERFACES = 1 << 9, /* inbound.excludeInterfaces */
};

#define PORT_WORDS (65536 / 64)

/* One generation of rules, in one value: swapping it swaps all of them. */
struct config {
	__u64 netns;         /* cookie of the network namespace */
	__u32 netns_inode;   /* its inode number, for programs that cannot ask for the cookie */
	__u32 generation;    /* of the entries in networks, owners and interfaces */
	__u32 flags;
	__u32 mark_mask;
	__u32 mark_outbound;
	__u32 mark_inbound;
	__u32 mark_agent;
	__u16 inbound_to;    /* ports, 0 for none */
	__u16 outbound_to;
	__u16 dns_to;
	__u16 pad;
	__u32 pad2;
	__u64 inbound_ports[PORT_WORDS];  /* bit n % 64 of word n / 64 is port n */
	__u64 excluded_ports[PORT_WORDS];
};

/* By size, as clang 14 forgets what an inner map's type is. */
struct one_config {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct config));
};

/* The config in force, or none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct one_config);
} current SEC(".maps");

/* LOCALS are the addresses that are the host's own, in generation 0. */
enum { VIPS = 0, DESTINATIONS = 1, SOURCES = 2, LOCALS = 3 };

/* IPV6 beside a kind keeps ::/0 from having all of IPv4, which is mapped into it. */
#define IPV6 0x100

struct network_key {
	__u32 length;     /* 64 + bits of the prefix */
	__u32 generation;
	__u32 kind;
	struct address address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network_key);
	__type(value, __u32);
} networks SEC(".maps");

enum { BY_UID = 0, BY_GID = 1, BY_CGROUP = 2 };

/* Roles of an owner, as bits. */
enum {
	IS_PROXY = 1 << 0,
	IS_ENROLLED = 1 << 1,
	IS_EXCLUDED = 1 << 2,
	IS_RESOLVER = 1 << 3,
};

struct owner_key {
	__u32 generation;
	__u32 by;
	__u64 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct owner_key);
	__type(value, __u32);
} owners SEC(".maps");

struct interface_key {
	__u32 generation;
	__u32 index;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct interface_key);
	__type(value, __u32);
} interfaces SEC(".maps");

enum { LEASE = 0, TRIAL = 1 };

/* Deadlines in nanoseconds of CLOCK_MONOTONIC. A hash, and not an array,
 * because an element of it is replaced in one step. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} leases SEC(".maps");

enum { TO_PROXY = 1, TO_DNS = 2, TO_INBOUND = 3 };

/* Where a socket of this host wanted to go, and where it was sent. */
struct call {
	struct address wanted;
	struct address sent;
	__u16 wanted_port; /* host byte order, like all ports here */
	__u16 sent_port;
	__u16 kind;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct call);
} calls SEC(".maps");

struct target {
	struct address address;
	__u16 port;
	__u16 kind;
};

/* The same, for the proxy's end of the connection. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct target);
} accepted SEC(".maps");

/* A connection on its way from one to the other, as the listener's side sees it. */
struct flow_key {
	struct address remote;
	struct address local;
	__u16 remote_port;
	__u16 local_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct target);
} flows SEC(".maps");

struct listener_key {
	__u16 port;
	__u8 kind;   /* TO_PROXY or TO_INBOUND */
	__u8 family; /* 4 or 6 */
};

/* The proxy's listeners. No data ever goes by way of this map. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 64);
	__type(key, struct listener_key);
	__type(value, __u64);
} listeners SEC(".maps");

/* Indexes of counts. */
enum {
	N_PROXY,    /* connections to the proxy */
	N_DNS,      /* queries, or connections for them, to the agent */
	N_INBOUND,  /* connections from elsewhere to the proxy */
	N_SELF,     /* calls of the proxy to its own host */
	N_DIRECT,   /* what bypassed the proxy though nothing excludes it: bound to a device */
	N_REFUSED,  /* refused: no listener, or a listener called directly */
	N_FULL,     /* refused: no room to remember */
	N_COUNTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Which programs these are. */
struct version {
	__u64 layout;
	__u64 programs; /* a hash of the object file */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct version);
} about SEC(".maps");

#endif
