// SPDX-License-Identifier: GPL-2.0 OR MIT
//
// Redirection by eBPF. DESIGN.md beside this file tells which program hangs
// where and what lies in which map.
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "maps.h"

#include "decide.h"

#include "caller.h"
#include "connection.h"
#include "inbound.h"

/* Keeps the type in the object's BTF, of which the loader's types are made. */
const struct config *unused_config __attribute__((unused));

char _license[] SEC("license") = "Dual MIT/GPL";
