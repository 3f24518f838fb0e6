// SPDX-License-Identifier: MIT OR Apache-2.0
/* One handler for each row of the reference guide's host part, in its dialect. */
#include <uapi/linux/ptrace.h>

struct str_t {
	char c[16];
};

struct random_args {
	u64 __unused__;
	u32 got_bits;
	u32 pool_left;
	u32 input_left;
};

BPF_HASH(counts, struct str_t, u64, 8);
BPF_HASH(calls, u32);
BPF_HISTOGRAM(dist);

int hello(struct pt_regs *ctx)
{
	bpf_trace_printk("Hello, World!\n");
	return 0;
}

int count_calls(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	calls.increment(pid);
	return 0;
}

int kbytes(struct pt_regs *ctx)
{
	dist.increment(bpf_log2l(PT_REGS_RC(ctx) / 1024));
	return 0;
}

int got_bits(struct random_args *args)
{
	bpf_trace_printk("%d\n", args->got_bits);
	return 0;
}

int count_strlen(struct pt_regs *ctx)
{
	struct str_t key = {};
	u64 zero = 0, *val;

	if (!PT_REGS_PARM1(ctx))
		return 0;
	bpf_probe_read(&key.c, sizeof(key.c), (void *)PT_REGS_PARM1(ctx));
	val = counts.lookup_or_init(&key, &zero);
	(*val)++;
	return 0;
}

int read_line(struct pt_regs *ctx)
{
	char line[16] = {};

	if (!PT_REGS_RC(ctx))
		return 0;
	bpf_probe_read(&line, sizeof(line), (void *)PT_REGS_RC(ctx));
	bpf_trace_printk("%s\n", line);
	return 0;
}
