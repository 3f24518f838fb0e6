/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* `bpf_trace_printk` in both of the reference guide's forms, and the bucket indexes of histograms. */

/*
 * `bpf_trace_printk("text", a, b)` takes the format alone, `bpf_trace_printk(text, sizeof(text), a, b)` its size too. A
 * format that is no literal needs the size. After a literal the first argument is the size if the literal has fewer
 * conversions than there are arguments.
 */
#define __BCC_FMT1(f) (__builtin_strchr(f, '%') != 0)
#define __BCC_NEXT(p) (__builtin_strchr(p, '%') + 1)
#define __BCC_FMT2(f) (__BCC_FMT1(f) && __builtin_strchr(__BCC_NEXT(f), '%') != 0)
#define __BCC_FMT3(f) (__BCC_FMT2(f) && __builtin_strchr(__BCC_NEXT(__BCC_NEXT(f)), '%') != 0)
#define __BCC_LITERAL(f) __builtin_constant_p(f)
#define __BCC_SIZE(a) ((u32)(unsigned long)(a))

#define __BCC_PRINTK1(f) __bcc_trace_printk(f, sizeof(f))
#define __BCC_PRINTK2(f, a)                                                       \
	(__BCC_LITERAL(f) && __BCC_FMT1(f) ? __bcc_trace_printk(f, sizeof(f), a)  \
					   : __bcc_trace_printk(f, __BCC_SIZE(a)))
#define __BCC_PRINTK3(f, a, b)                                                      \
	(__BCC_LITERAL(f) && __BCC_FMT2(f) ? __bcc_trace_printk(f, sizeof(f), a, b) \
					   : __bcc_trace_printk(f, __BCC_SIZE(a), b))
#define __BCC_PRINTK4(f, a, b, c)                                                      \
	(__BCC_LITERAL(f) && __BCC_FMT3(f) ? __bcc_trace_printk(f, sizeof(f), a, b, c) \
					   : __bcc_trace_printk(f, __BCC_SIZE(a), b, c))
#define __BCC_PRINTK5(f, size, a, b, c) __bcc_trace_printk(f, __BCC_SIZE(size), a, b, c)
#define __BCC_6TH(a, b, c, d, e, f, ...) f
#define bpf_trace_printk(...)                                                                                       \
	__BCC_6TH(__VA_ARGS__, __BCC_PRINTK5, __BCC_PRINTK4, __BCC_PRINTK3, __BCC_PRINTK2, __BCC_PRINTK1)(__VA_ARGS__)

/* The place of the highest bit, counted from 0; 0 for 0. */
static __always_inline unsigned int bpf_log2(unsigned int v)
{
	unsigned int place = 0;

	if (v >> 16) {
		place += 16;
		v >>= 16;
	}
	if (v >> 8) {
		place += 8;
		v >>= 8;
	}
	if (v >> 4) {
		place += 4;
		v >>= 4;
	}
	if (v >> 2) {
		place += 2;
		v >>= 2;
	}
	return place + (v >> 1);
}

/* The number of bits that a value needs; 1 for 0. */
static __always_inline unsigned int bpf_log2l(unsigned long v)
{
	unsigned int high = v >> 32;

	return high ? bpf_log2(high) + 33 : bpf_log2(v) + 1;
}
