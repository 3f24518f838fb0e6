/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What kernel code takes for granted and BTF cannot carry: macros. The types come before, from the kernel's BTF. */

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#undef noinline
#define noinline __attribute__((noinline))
#define __maybe_unused __attribute__((unused))
#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define __printf(a, b)
#define ____cacheline_aligned
#define ____cacheline_aligned_in_smp
#define __read_mostly
#define __user
#define __kernel
#define __iomem
#define __percpu
#define __rcu
#define __force
#define __init
#define __exit
#define __must_check
#define asmlinkage
#define EXPORT_SYMBOL(x)
#define EXPORT_SYMBOL_GPL(x)

#ifndef NULL
#define NULL ((void *)0)
#endif
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define sizeof_field(type, member) sizeof(((type *)0)->member)
#define FIELD_SIZEOF(type, member) sizeof_field(type, member)
#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() __asm__ volatile("" ::: "memory")
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#define ACCESS_ONCE(x) READ_ONCE(x)
#define BUILD_BUG_ON(x)
#define min(a, b) ({ typeof(a) __bcc_a = (a); typeof(b) __bcc_b = (b); __bcc_a < __bcc_b ? __bcc_a : __bcc_b; })
#define max(a, b) ({ typeof(a) __bcc_a = (a); typeof(b) __bcc_b = (b); __bcc_a > __bcc_b ? __bcc_a : __bcc_b; })
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK(h, l) (((~0UL) << (l)) & (~0UL >> (63 - (h))))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define round_up(x, y) ((((x)-1) | ((typeof(x))(y)-1)) + 1)
#define round_down(x, y) ((x) & ~((typeof(x))(y)-1))
#define ALIGN(x, a) round_up(x, a)
#define MAX_ERRNO 4095
#define IS_ERR_VALUE(x) ((unsigned long)(void *)(x) >= (unsigned long)-MAX_ERRNO)
#define IS_ERR(p) IS_ERR_VALUE(p)
#define IS_ERR_OR_NULL(p) (!(p) || IS_ERR_VALUE(p))
#define PTR_ERR(p) ((long)(p))
#define ERR_PTR(e) ((void *)(long)(e))

#define memcpy(d, s, n) __builtin_memcpy(d, s, n)
#define memset(d, c, n) __builtin_memset(d, c, n)
#define memmove(d, s, n) __builtin_memmove(d, s, n)
/* Out of line these would be calls that no kernel answers. */
#define memcmp(a, b, n) __builtin_memcmp(a, b, n)
#define strlen(s) __builtin_strlen(s)
#define strcmp(a, b) __builtin_strcmp(a, b)

#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohl(x) __builtin_bswap32(x)
#define bpf_htonl(x) __builtin_bswap32(x)
#define bpf_be64_to_cpu(x) __builtin_bswap64(x)
#define bpf_cpu_to_be64(x) __builtin_bswap64(x)
#define ntohs(x) bpf_ntohs(x)
#define htons(x) bpf_htons(x)
#define ntohl(x) bpf_ntohl(x)
#define htonl(x) bpf_htonl(x)
#define bpf_ntohll(x) __builtin_bswap64(x)
#define bpf_htonll(x) __builtin_bswap64(x)
#define ntohll(x) __builtin_bswap64(x)
#define htonll(x) __builtin_bswap64(x)
#define be16_to_cpu(x) __builtin_bswap16(x)
#define be32_to_cpu(x) __builtin_bswap32(x)
#define be64_to_cpu(x) __builtin_bswap64(x)
#define cpu_to_be16(x) __builtin_bswap16(x)
#define cpu_to_be32(x) __builtin_bswap32(x)
#define cpu_to_be64(x) __builtin_bswap64(x)
#define __be16_to_cpu(x) __builtin_bswap16(x)
#define __be32_to_cpu(x) __builtin_bswap32(x)
#define __be64_to_cpu(x) __builtin_bswap64(x)
#define __cpu_to_be16(x) __builtin_bswap16(x)
#define __cpu_to_be32(x) __builtin_bswap32(x)
#define __cpu_to_be64(x) __builtin_bswap64(x)
#define le16_to_cpu(x) (x)
#define le32_to_cpu(x) (x)
#define le64_to_cpu(x) (x)
#define cpu_to_le16(x) (x)
#define cpu_to_le32(x) (x)
#define cpu_to_le64(x) (x)
#define __constant_htons(x) bpf_htons(x)
#define __constant_htonl(x) bpf_htonl(x)

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define IS_ENABLED(option) __BCC_IS_SET(option)
#define IS_BUILTIN(option) __BCC_IS_SET(option)
#define __BCC_ARG_PLACEHOLDER_1 0,
#define __BCC_SECOND(ignored, value, ...) value
#define __BCC_IS_SET(x) __BCC_IS_SET1(x)
#define __BCC_IS_SET1(x) __BCC_IS_SET2(__BCC_ARG_PLACEHOLDER_##x)
#define __BCC_IS_SET2(junk) __BCC_SECOND(junk 1, 0)

#define CUR_CPU_IDENTIFIER BPF_F_CURRENT_CPU
#define lock_xadd(ptr, val) ((void)__sync_fetch_and_add(ptr, val))
#define bpf_cpu_to_be16 bpf_htons
#define bpf_cpu_to_be32 bpf_htonl
#define bpf_be16_to_cpu bpf_ntohs
#define bpf_be32_to_cpu bpf_ntohl
#define BPF_LICENSE(license)
#define cursor_advance(cursor, len) ({ void *__bcc_at = (cursor); (cursor) += (len); __bcc_at; })

char __bcc_license[] __asm__("_license") SEC("license") = "GPL";

typedef typeof(sizeof(0)) __bcc_size_t;

/* libc's names for sizes; the kernel's BTF has some of them. Repeating a typedef of the same type is allowed. */
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __s8 int8_t;
typedef __s16 int16_t;
typedef __s32 int32_t;
typedef u64 uint64_t;
typedef s64 int64_t;
typedef unsigned long uintptr_t;
