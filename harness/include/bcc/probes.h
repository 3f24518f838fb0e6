/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Registers of probed functions, and the macros that name a program after what it is attached to. */

#if defined(__TARGET_ARCH_arm64)
#define __BCC_REG(ctx, n) (((const struct user_pt_regs *)(ctx))->regs[n])
#define PT_REGS_PARM1(ctx) __BCC_REG(ctx, 0)
#define PT_REGS_PARM2(ctx) __BCC_REG(ctx, 1)
#define PT_REGS_PARM3(ctx) __BCC_REG(ctx, 2)
#define PT_REGS_PARM4(ctx) __BCC_REG(ctx, 3)
#define PT_REGS_PARM5(ctx) __BCC_REG(ctx, 4)
#define PT_REGS_PARM6(ctx) __BCC_REG(ctx, 5)
#define PT_REGS_PARM7(ctx) __BCC_REG(ctx, 6)
#define PT_REGS_PARM8(ctx) __BCC_REG(ctx, 7)
#define PT_REGS_RET(ctx) __BCC_REG(ctx, 30)
#define PT_REGS_FP(ctx) __BCC_REG(ctx, 29)
#define PT_REGS_RC(ctx) __BCC_REG(ctx, 0)
#define PT_REGS_SP(ctx) (((const struct user_pt_regs *)(ctx))->sp)
#define PT_REGS_IP(ctx) (((const struct user_pt_regs *)(ctx))->pc)
#define PT_REGS_PARM4_SYSCALL(ctx) PT_REGS_PARM4(ctx)
#else
#define PT_REGS_PARM1(ctx) ((ctx)->di)
#define PT_REGS_PARM2(ctx) ((ctx)->si)
#define PT_REGS_PARM3(ctx) ((ctx)->dx)
#define PT_REGS_PARM4(ctx) ((ctx)->cx)
#define PT_REGS_PARM5(ctx) ((ctx)->r8)
#define PT_REGS_PARM6(ctx) ((ctx)->r9)
#define PT_REGS_RET(ctx) ((ctx)->sp)
#define PT_REGS_FP(ctx) ((ctx)->bp)
#define PT_REGS_RC(ctx) ((ctx)->ax)
#define PT_REGS_SP(ctx) ((ctx)->sp)
#define PT_REGS_IP(ctx) ((ctx)->ip)
/* System calls keep RCX for themselves. */
#define PT_REGS_PARM4_SYSCALL(ctx) ((ctx)->r10)
#endif

#define PT_REGS_PARM1_SYSCALL(ctx) PT_REGS_PARM1(ctx)
#define PT_REGS_PARM2_SYSCALL(ctx) PT_REGS_PARM2(ctx)
#define PT_REGS_PARM3_SYSCALL(ctx) PT_REGS_PARM3(ctx)
#define PT_REGS_PARM5_SYSCALL(ctx) PT_REGS_PARM5(ctx)
#define PT_REGS_PARM6_SYSCALL(ctx) PT_REGS_PARM6(ctx)
#define PT_REGS_SYSCALL_CTX(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))
#define PT_REGS_SYSCALL_REGS(ctx) PT_REGS_SYSCALL_CTX(ctx)

/* Tracepoints: `struct tracepoint__CATEGORY__EVENT` is made from the event's format. */
#define TRACEPOINT_PROBE(category, event) \
	int tracepoint__##category##__##event(struct tracepoint__##category##__##event *args)
#define RAW_TRACEPOINT_PROBE(event) int raw_tracepoint__##event(struct bpf_raw_tracepoint_args *ctx)
#define TP_DATA_LOC_READ_CONST(dst, field, length) \
	bpf_probe_read((void *)(dst), length, (char *)args + (args->data_loc_##field & 0xffff))
#define TP_DATA_LOC_READ(dst, field) \
	bpf_probe_read((void *)(dst), args->data_loc_##field >> 16, (char *)args + (args->data_loc_##field & 0xffff))
#define TP_DATA_LOC_READ_STR(dst, field, length) \
	bpf_probe_read_str((void *)(dst), length, (char *)args + (args->data_loc_##field & 0xffff))

/* Functions, tracepoints and hooks with typed arguments: the context is an array of words. */
#define __BCC_CAT(a, b) __BCC_CAT_(a, b)
#define __BCC_CAT_(a, b) a##b
#define __BCC_COUNT(...) __BCC_COUNT_(_, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define __BCC_COUNT_(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, n, ...) n
#define __BCC_CTX0()
#define __BCC_CTX1(x) , (void *)ctx[0]
#define __BCC_CTX2(x, ...) __BCC_CTX1(x), (void *)ctx[1]
#define __BCC_CTX3(x, ...) __BCC_CTX2(x), (void *)ctx[2]
#define __BCC_CTX4(x, ...) __BCC_CTX3(x), (void *)ctx[3]
#define __BCC_CTX5(x, ...) __BCC_CTX4(x), (void *)ctx[4]
#define __BCC_CTX6(x, ...) __BCC_CTX5(x), (void *)ctx[5]
#define __BCC_CTX7(x, ...) __BCC_CTX6(x), (void *)ctx[6]
#define __BCC_CTX8(x, ...) __BCC_CTX7(x), (void *)ctx[7]
#define __BCC_CTX9(x, ...) __BCC_CTX8(x), (void *)ctx[8]
#define __BCC_CTX10(x, ...) __BCC_CTX9(x), (void *)ctx[9]
#define __BCC_CTX11(x, ...) __BCC_CTX10(x), (void *)ctx[10]
#define __BCC_CTX12(x, ...) __BCC_CTX11(x), (void *)ctx[11]
#define __BCC_CTX(...) __BCC_CAT(__BCC_CTX, __BCC_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define BPF_PROG(name, ...)                                                                        \
	int name(unsigned long long *ctx);                                                         \
	static __always_inline int ____##name(unsigned long long *ctx, ##__VA_ARGS__);             \
	int name(unsigned long long *ctx)                                                          \
	{                                                                                          \
		_Pragma("clang diagnostic push")                                                   \
		_Pragma("clang diagnostic ignored \"-Wint-conversion\"")                           \
		return ____##name(ctx __BCC_CTX(__VA_ARGS__));                                     \
		_Pragma("clang diagnostic pop")                                                    \
	}                                                                                          \
	static __always_inline int ____##name(unsigned long long *ctx, ##__VA_ARGS__)
#define KFUNC_PROBE(event, ...) BPF_PROG(kfunc__vmlinux__##event, ##__VA_ARGS__)
#define KRETFUNC_PROBE(event, ...) BPF_PROG(kretfunc__vmlinux__##event, ##__VA_ARGS__)
#define MODULE_KFUNC_PROBE(module, event, ...) BPF_PROG(kfunc__##module##__##event, ##__VA_ARGS__)
#define MODULE_KRETFUNC_PROBE(module, event, ...) BPF_PROG(kretfunc__##module##__##event, ##__VA_ARGS__)
#define KMOD_RET(event, ...) BPF_PROG(kmod_ret__##event, ##__VA_ARGS__)
#define LSM_PROBE(event, ...) BPF_PROG(lsm__##event, ##__VA_ARGS__)
#define BPF_ITER(target) int bpf_iter__##target(struct bpf_iter__##target *ctx)

/* USDT arguments: the readers are generated from the argument specs of the binary's notes, by function and number. */
#define bpf_usdt_readarg(n, ctx, dest) __bcc_usdt_readarg(__func__, n, ctx, dest, sizeof(*(dest)))
#define bpf_usdt_readarg_p(n, ctx, buf, len)                              \
	({                                                                \
		u64 __bcc_addr = 0;                                       \
		bpf_usdt_readarg(n, ctx, &__bcc_addr);                    \
		bpf_probe_read_user(buf, len, (const void *)__bcc_addr);  \
	})

/* A reader that nobody has generated: the call stays unresolved and is refused where it is reached. */
extern int bpf_usdt_readarg_without_usdt_context(void) __attribute__((weak, section(".ksyms")));

/* Arguments of programs that have more of them than a BPF function may have parameters. */
#ifdef CONFIG_ARCH_HAS_SYSCALL_WRAPPER
#define __BCC_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))
#else
#define __BCC_SYSCALL_REGS(ctx) ((struct pt_regs *)(ctx))
#endif
#define __BCC_ARGUMENT(regs, n, suffix) __BCC_ARGUMENT_(regs, PT_REGS_PARM##n##suffix)
#define __BCC_ARGUMENT_(regs, read)                                          \
	({                                                                   \
		unsigned long __bcc_value = 0;                               \
		bpf_probe_read(&__bcc_value, sizeof(long), &read(regs));     \
		__bcc_value;                                                 \
	})
