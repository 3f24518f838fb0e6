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

struct data_t {
	u32 pid;
	u64 n;
	char comm[16];
};

struct disk_key_t {
	char disk[8];
	u64 slot;
};

BPF_PERF_OUTPUT(events);
BPF_HISTOGRAM(disks, struct disk_key_t);
BPF_STACK_TRACE(stack_traces, 64);
BPF_HASH(stacks, int);
BPF_PERF_ARRAY(cycles, 2);
BPF_ARRAY(readings, u64, 2);
BPF_PROG_ARRAY(jumps, 4);

int send_event(struct pt_regs *ctx)
{
	struct data_t data = {};

	data.pid = bpf_get_current_pid_tgid() >> 32;
	data.n = PT_REGS_PARM1(ctx);
	bpf_get_current_comm(&data.comm, sizeof(data.comm));
	events.perf_submit(ctx, &data, sizeof(data));
	return 0;
}

int io_done(struct pt_regs *ctx)
{
	struct disk_key_t key = { .slot = bpf_log2l(PT_REGS_PARM2(ctx)) };

	bpf_probe_read(&key.disk, sizeof(key.disk), (void *)PT_REGS_PARM1(ctx));
	disks.increment(key);
	return 0;
}

int linear(struct pt_regs *ctx)
{
	dist.increment(PT_REGS_PARM1(ctx) / 10);
	return 0;
}

int count_stacks(struct pt_regs *ctx)
{
	int id = stack_traces.get_stackid(ctx, 0);

	stacks.increment(id);
	return 0;
}

int read_counter(struct pt_regs *ctx)
{
	int cpu = bpf_get_smp_processor_id();
	u64 now = cycles.perf_read(cpu);

	readings.update(&cpu, &now);
	return 0;
}

int jump(struct pt_regs *ctx)
{
	jumps.call(ctx, 2);
	return 1;
}

int jumped(struct pt_regs *ctx)
{
	return 77;
}
