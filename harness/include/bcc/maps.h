/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Maps with methods. Each macro defines two objects. One is a libbpf-style definition in `.maps`; its assembler label is
 * the user's name, so the ELF symbol and the BTF variable have it. The other has the user's name in C: a constant
 * structure of function pointers, through which calls are folded and inlined. Without a label of its own its symbol
 * would be merged with the first.
 */

/* The kernel's map type for a bcc type string; a constant, -1 if there is none. */
#define __BCC_IS(t, s) (__builtin_strcmp(t, s) == 0)
#define __BCC_TYPE(t, K)                                                                                         \
	(__BCC_IS(t, "hash")                      ? BPF_MAP_TYPE_HASH                                            \
	 : __BCC_IS(t, "array")                   ? BPF_MAP_TYPE_ARRAY                                           \
	 : __BCC_IS(t, "histogram")               ? __BCC_HISTOGRAM_TYPE(K)                                      \
	 : __BCC_IS(t, "prog")                    ? BPF_MAP_TYPE_PROG_ARRAY                                      \
	 : __BCC_IS(t, "prog_array")              ? BPF_MAP_TYPE_PROG_ARRAY                                      \
	 : __BCC_IS(t, "perf_output")             ? BPF_MAP_TYPE_PERF_EVENT_ARRAY                                \
	 : __BCC_IS(t, "perf_array")              ? BPF_MAP_TYPE_PERF_EVENT_ARRAY                                \
	 : __BCC_IS(t, "percpu_hash")             ? BPF_MAP_TYPE_PERCPU_HASH                                     \
	 : __BCC_IS(t, "percpu_array")            ? BPF_MAP_TYPE_PERCPU_ARRAY                                    \
	 : __BCC_IS(t, "stacktrace")              ? BPF_MAP_TYPE_STACK_TRACE                                     \
	 : __BCC_IS(t, "stack_trace")             ? BPF_MAP_TYPE_STACK_TRACE                                     \
	 : __BCC_IS(t, "cgroup_array")            ? BPF_MAP_TYPE_CGROUP_ARRAY                                    \
	 : __BCC_IS(t, "lru_hash")                ? BPF_MAP_TYPE_LRU_HASH                                        \
	 : __BCC_IS(t, "lru_percpu_hash")         ? BPF_MAP_TYPE_LRU_PERCPU_HASH                                 \
	 : __BCC_IS(t, "lpm_trie")                ? BPF_MAP_TYPE_LPM_TRIE                                        \
	 : __BCC_IS(t, "array_of_maps")           ? BPF_MAP_TYPE_ARRAY_OF_MAPS                                   \
	 : __BCC_IS(t, "hash_of_maps")            ? BPF_MAP_TYPE_HASH_OF_MAPS                                    \
	 : __BCC_IS(t, "devmap")                  ? BPF_MAP_TYPE_DEVMAP                                          \
	 : __BCC_IS(t, "devmap_hash")             ? BPF_MAP_TYPE_DEVMAP_HASH                                     \
	 : __BCC_IS(t, "cpumap")                  ? BPF_MAP_TYPE_CPUMAP                                          \
	 : __BCC_IS(t, "xskmap")                  ? BPF_MAP_TYPE_XSKMAP                                          \
	 : __BCC_IS(t, "sockmap")                 ? BPF_MAP_TYPE_SOCKMAP                                         \
	 : __BCC_IS(t, "sockhash")                ? BPF_MAP_TYPE_SOCKHASH                                        \
	 : __BCC_IS(t, "queue")                   ? BPF_MAP_TYPE_QUEUE                                           \
	 : __BCC_IS(t, "stack")                   ? BPF_MAP_TYPE_STACK                                           \
	 : __BCC_IS(t, "sk_storage")              ? BPF_MAP_TYPE_SK_STORAGE                                      \
	 : __BCC_IS(t, "inode_storage")           ? 28 /* from 5.10 on, not in the types of older kernels */       \
	 : __BCC_IS(t, "task_storage")            ? 29 /* from 5.11 on */                                          \
	 : __BCC_IS(t, "cgroup_storage")          ? BPF_MAP_TYPE_CGROUP_STORAGE                                  \
	 : __BCC_IS(t, "percpu_cgroup_storage")   ? BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE                           \
	 : __BCC_IS(t, "ringbuf_output")          ? BPF_MAP_TYPE_RINGBUF                                         \
						  : -1)
#define __BCC_HISTOGRAM_TYPE(K) \
	(__builtin_types_compatible_p(K, int) ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH)

/* Leaves that can be added to; others get a counter's type, with which nothing is done. */
#define __BCC_IS_INT(V) (__builtin_classify_type(*(typeof(V) *)0) == 1)
#define __BCC_COUNTER(V) typeof(__builtin_choose_expr(__BCC_IS_INT(V), *(typeof(V) *)0, (u64)0))

/* A failing insert of `lookup_or_init` ends the program with 0: bcc puts a `return 0` there, and C cannot. */
#define __BCC_RETURN_0()                                            \
	do {                                                        \
		__asm__ volatile("r0 = 0\n\texit" ::: "r0");        \
		__builtin_unreachable();                            \
	} while (0)

#define __bcc_uint(name, val) int(*name)[val]
#define __bcc_fn static __always_inline __attribute__((unused))

#define __BCC_MAP_OBJECT(NAME) \
	__bcc_map_##NAME __asm__(#NAME) __attribute__((section(".maps"), used))

/* The methods. What makes no sense for a map's type compiles and is refused when it is loaded. */
#define __BCC_METHODS(NAME, TYPE, K, V)                                                                            \
	__bcc_fn typeof(V) *__bcc_##NAME##_lookup(const typeof(K) *k)                                              \
	{                                                                                                          \
		return (typeof(V) *)bpf_map_lookup_elem(&__bcc_map_##NAME, k);                                     \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_update(const typeof(K) *k, const typeof(V) *v)                                \
	{                                                                                                          \
		return bpf_map_update_elem(&__bcc_map_##NAME, k, v, BPF_ANY);                                      \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_insert(const typeof(K) *k, const typeof(V) *v)                                \
	{                                                                                                          \
		return bpf_map_update_elem(&__bcc_map_##NAME, k, v, BPF_NOEXIST);                                  \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_delete(const typeof(K) *k)                                                    \
	{                                                                                                          \
		return bpf_map_delete_elem(&__bcc_map_##NAME, k);                                                  \
	}                                                                                                          \
	__bcc_fn typeof(V) *__bcc_##NAME##_lookup_or_try_init(const typeof(K) *k, const typeof(V) *v)              \
	{                                                                                                          \
		typeof(V) *leaf = (typeof(V) *)bpf_map_lookup_elem(&__bcc_map_##NAME, k);                          \
		if (!leaf) {                                                                                       \
			bpf_map_update_elem(&__bcc_map_##NAME, k, v, BPF_NOEXIST);                                 \
			leaf = (typeof(V) *)bpf_map_lookup_elem(&__bcc_map_##NAME, k);                             \
		}                                                                                                  \
		return leaf;                                                                                       \
	}                                                                                                          \
	__bcc_fn typeof(V) *__bcc_##NAME##_lookup_or_init(const typeof(K) *k, const typeof(V) *v)                  \
	{                                                                                                          \
		typeof(V) *leaf = __bcc_##NAME##_lookup_or_try_init(k, v);                                         \
		if (!leaf)                                                                                         \
			__BCC_RETURN_0();                                                                          \
		return leaf;                                                                                       \
	}                                                                                                          \
	__bcc_fn void __bcc_##NAME##_add(typeof(K) k, u64 n)                                                       \
	{                                                                                                          \
		__BCC_COUNTER(V) *leaf = bpf_map_lookup_elem(&__bcc_map_##NAME, &k);                               \
		if (leaf) {                                                                                        \
			if (sizeof(*leaf) == 8)                                                                    \
				__sync_fetch_and_add((u64 *)leaf, n);                                              \
			else if (sizeof(*leaf) == 4)                                                               \
				__sync_fetch_and_add((u32 *)leaf, (u32)n);                                         \
			else                                                                                       \
				*leaf += n;                                                                        \
		} else if ((TYPE) == BPF_MAP_TYPE_HASH) {                                                          \
			__BCC_COUNTER(V) first = n;                                                                \
			bpf_map_update_elem(&__bcc_map_##NAME, &k, &first, BPF_NOEXIST);                           \
		}                                                                                                  \
	}                                                                                                          \
	__bcc_fn void __bcc_##NAME##_add1(typeof(K) k) { __bcc_##NAME##_add(k, 1); }                               \
	__bcc_fn void __bcc_##NAME##_call(void *ctx, u32 index) { bpf_tail_call(ctx, &__bcc_map_##NAME, index); }  \
	__bcc_fn long __bcc_##NAME##_perf_submit(void *ctx, const void *data, u32 size)                            \
	{                                                                                                          \
		return bpf_perf_event_output(ctx, &__bcc_map_##NAME, BPF_F_CURRENT_CPU, (void *)data, size);       \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_perf_submit_skb(void *ctx, u32 skb_size, const void *data, u32 size)          \
	{                                                                                                          \
		u64 flags = ((u64)skb_size << 32) | BPF_F_CURRENT_CPU;                                             \
		return bpf_perf_event_output(ctx, &__bcc_map_##NAME, flags, (void *)data, size);                   \
	}                                                                                                          \
	__bcc_fn u64 __bcc_##NAME##_perf_read(u64 cpu) { return bpf_perf_event_read(&__bcc_map_##NAME, cpu); }     \
	__bcc_fn long __bcc_##NAME##_perf_counter_value(u64 cpu, void *value, u32 size)                            \
	{                                                                                                          \
		return bpf_perf_event_read_value(&__bcc_map_##NAME, cpu, value, size);                             \
	}                                                                                                          \
	__bcc_fn int __bcc_##NAME##_get_stackid(void *ctx, u64 flags)                                              \
	{                                                                                                          \
		return bpf_get_stackid(ctx, &__bcc_map_##NAME, flags);                                             \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_ringbuf_output(const void *data, u64 size, u64 flags)                         \
	{                                                                                                          \
		return bpf_ringbuf_output(&__bcc_map_##NAME, (void *)data, size, flags);                           \
	}                                                                                                          \
	__bcc_fn void *__bcc_##NAME##_ringbuf_reserve(u64 size)                                                    \
	{                                                                                                          \
		return bpf_ringbuf_reserve(&__bcc_map_##NAME, size, 0);                                            \
	}                                                                                                          \
	__bcc_fn void __bcc_##NAME##_ringbuf_submit(const void *data, u64 flags)                                   \
	{                                                                                                          \
		bpf_ringbuf_submit((void *)data, flags);                                                           \
	}                                                                                                          \
	__bcc_fn void __bcc_##NAME##_ringbuf_discard(const void *data, u64 flags)                                  \
	{                                                                                                          \
		bpf_ringbuf_discard((void *)data, flags);                                                          \
	}                                                                                                          \
	__bcc_fn u64 __bcc_##NAME##_ringbuf_query(u64 flags) { return bpf_ringbuf_query(&__bcc_map_##NAME, flags); } \
	__bcc_fn long __bcc_##NAME##_push(const typeof(V) *v, u64 flags)                                           \
	{                                                                                                          \
		return bpf_map_push_elem(&__bcc_map_##NAME, v, flags);                                             \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_pop(typeof(V) *v) { return bpf_map_pop_elem(&__bcc_map_##NAME, v); }          \
	__bcc_fn long __bcc_##NAME##_peek(typeof(V) *v) { return bpf_map_peek_elem(&__bcc_map_##NAME, v); }        \
	__bcc_fn long __bcc_##NAME##_redirect_map(u64 key, u64 flags)                                              \
	{                                                                                                          \
		return bpf_redirect_map(&__bcc_map_##NAME, key, flags);                                            \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_check_current_task(u32 index)                                                 \
	{                                                                                                          \
		return bpf_current_task_under_cgroup(&__bcc_map_##NAME, index);                                    \
	}                                                                                                          \
	__bcc_fn typeof(V) *__bcc_##NAME##_sk_storage_get(void *sk, void *v, u64 flags)                            \
	{                                                                                                          \
		return (typeof(V) *)bpf_sk_storage_get(&__bcc_map_##NAME, sk, v, flags);                           \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_sk_storage_delete(void *sk)                                                   \
	{                                                                                                          \
		return bpf_sk_storage_delete(&__bcc_map_##NAME, sk);                                               \
	}                                                                                                          \
	__bcc_fn typeof(V) *__bcc_##NAME##_inode_storage_get(void *inode, void *v, u64 flags)                      \
	{                                                                                                          \
		return (typeof(V) *)bpf_inode_storage_get(&__bcc_map_##NAME, inode, v, flags);                     \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_inode_storage_delete(void *inode)                                             \
	{                                                                                                          \
		return bpf_inode_storage_delete(&__bcc_map_##NAME, inode);                                         \
	}                                                                                                          \
	__bcc_fn typeof(V) *__bcc_##NAME##_task_storage_get(void *task, void *v, u64 flags)                        \
	{                                                                                                          \
		return (typeof(V) *)bpf_task_storage_get(&__bcc_map_##NAME, task, v, flags);                       \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_task_storage_delete(void *task)                                               \
	{                                                                                                          \
		return bpf_task_storage_delete(&__bcc_map_##NAME, task);                                           \
	}                                                                                                          \
	__bcc_fn typeof(V) *__bcc_##NAME##_get_local_storage(u64 flags)                                            \
	{                                                                                                          \
		return (typeof(V) *)bpf_get_local_storage(&__bcc_map_##NAME, flags);                               \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_sock_map_update(void *ops, void *k, u64 flags)                                \
	{                                                                                                          \
		return bpf_sock_map_update(ops, &__bcc_map_##NAME, k, flags);                                      \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_sock_hash_update(void *ops, void *k, u64 flags)                               \
	{                                                                                                          \
		return bpf_sock_hash_update(ops, &__bcc_map_##NAME, k, flags);                                     \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_msg_redirect_map(void *msg, u32 k, u64 flags)                                 \
	{                                                                                                          \
		return bpf_msg_redirect_map(msg, &__bcc_map_##NAME, k, flags);                                     \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_msg_redirect_hash(void *msg, void *k, u64 flags)                              \
	{                                                                                                          \
		return bpf_msg_redirect_hash(msg, &__bcc_map_##NAME, k, flags);                                    \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_sk_redirect_map(void *skb, u32 k, u64 flags)                                  \
	{                                                                                                          \
		return bpf_sk_redirect_map(skb, &__bcc_map_##NAME, k, flags);                                      \
	}                                                                                                          \
	__bcc_fn long __bcc_##NAME##_sk_redirect_hash(void *skb, void *k, u64 flags)                               \
	{                                                                                                          \
		return bpf_sk_redirect_hash(skb, &__bcc_map_##NAME, k, flags);                                     \
	}                                                                                                          \
	static const struct {                                                                                      \
		typeof(V) *(*lookup)(const typeof(K) *);                                                           \
		long (*update)(const typeof(K) *, const typeof(V) *);                                              \
		long (*insert)(const typeof(K) *, const typeof(V) *);                                              \
		long (*delete)(const typeof(K) *);                                                                 \
		typeof(V) *(*lookup_or_init)(const typeof(K) *, const typeof(V) *);                                \
		typeof(V) *(*lookup_or_try_init)(const typeof(K) *, const typeof(V) *);                            \
		void (*__bcc_add)(typeof(K), u64);                                                                 \
		void (*__bcc_add1)(typeof(K));                                                                     \
		void (*call)(void *, u32);                                                                         \
		long (*perf_submit)(void *, const void *, u32);                                                    \
		long (*perf_submit_skb)(void *, u32, const void *, u32);                                           \
		u64 (*perf_read)(u64);                                                                             \
		long (*perf_counter_value)(u64, void *, u32);                                                      \
		int (*get_stackid)(void *, u64);                                                                   \
		long (*ringbuf_output)(const void *, u64, u64);                                                    \
		void *(*ringbuf_reserve)(u64);                                                                     \
		void (*ringbuf_submit)(const void *, u64);                                                         \
		void (*ringbuf_discard)(const void *, u64);                                                        \
		u64 (*ringbuf_query)(u64);                                                                         \
		long (*push)(const typeof(V) *, u64);                                                              \
		long (*pop)(typeof(V) *);                                                                          \
		long (*peek)(typeof(V) *);                                                                         \
		long (*redirect_map)(u64, u64);                                                                    \
		long (*check_current_task)(u32);                                                                   \
		typeof(V) *(*sk_storage_get)(void *, void *, u64);                                                 \
		long (*sk_storage_delete)(void *);                                                                 \
		typeof(V) *(*inode_storage_get)(void *, void *, u64);                                              \
		long (*inode_storage_delete)(void *);                                                              \
		typeof(V) *(*task_storage_get)(void *, void *, u64);                                               \
		long (*task_storage_delete)(void *);                                                               \
		typeof(V) *(*get_local_storage)(u64);                                                              \
		long (*sock_map_update)(void *, void *, u64);                                                      \
		long (*sock_hash_update)(void *, void *, u64);                                                     \
		long (*msg_redirect_map)(void *, u32, u64);                                                        \
		long (*msg_redirect_hash)(void *, void *, u64);                                                    \
		long (*sk_redirect_map)(void *, u32, u64);                                                         \
		long (*sk_redirect_hash)(void *, void *, u64);                                                     \
	} NAME __asm__("__bcc_methods_" #NAME) __attribute__((unused)) = {                                         \
		__bcc_##NAME##_lookup,          __bcc_##NAME##_update,                                             \
		__bcc_##NAME##_insert,          __bcc_##NAME##_delete,                                             \
		__bcc_##NAME##_lookup_or_init,  __bcc_##NAME##_lookup_or_try_init,                                 \
		__bcc_##NAME##_add,             __bcc_##NAME##_add1,                                               \
		__bcc_##NAME##_call,            __bcc_##NAME##_perf_submit,                                        \
		__bcc_##NAME##_perf_submit_skb, __bcc_##NAME##_perf_read,                                          \
		__bcc_##NAME##_perf_counter_value, __bcc_##NAME##_get_stackid,                                     \
		__bcc_##NAME##_ringbuf_output,  __bcc_##NAME##_ringbuf_reserve,                                    \
		__bcc_##NAME##_ringbuf_submit,  __bcc_##NAME##_ringbuf_discard,                                    \
		__bcc_##NAME##_ringbuf_query,   __bcc_##NAME##_push,                                               \
		__bcc_##NAME##_pop,             __bcc_##NAME##_peek,                                               \
		__bcc_##NAME##_redirect_map,    __bcc_##NAME##_check_current_task,                                 \
		__bcc_##NAME##_sk_storage_get,  __bcc_##NAME##_sk_storage_delete,                                  \
		__bcc_##NAME##_inode_storage_get, __bcc_##NAME##_inode_storage_delete,                             \
		__bcc_##NAME##_task_storage_get, __bcc_##NAME##_task_storage_delete,                               \
		__bcc_##NAME##_get_local_storage, __bcc_##NAME##_sock_map_update,                                  \
		__bcc_##NAME##_sock_hash_update, __bcc_##NAME##_msg_redirect_map,                                  \
		__bcc_##NAME##_msg_redirect_hash, __bcc_##NAME##_sk_redirect_map,                                  \
		__bcc_##NAME##_sk_redirect_hash,                                                                   \
	}

/* In member position, so that the second argument and the key's address may be left out. */
#define __BCC_3RD(a, b, c, ...) c
#define increment(...) __BCC_3RD(__VA_ARGS__, __bcc_add, __bcc_add1)(__VA_ARGS__)
#define atomic_increment(...) increment(__VA_ARGS__)

/*
 * Records are decoded by their structures. What only the stack has would be left out of the object's BTF: a number of the
 * type keeps it in.
 */
#define __BCC_POINTEE(p) \
	typeof(*__builtin_choose_expr(__builtin_types_compatible_p(typeof(*(p)), void), (char *)0, (p)))
#define __BCC_KEEP_TYPE(p) \
	__asm__ volatile("" : : "r"((u64)__builtin_btf_type_id(*(__BCC_POINTEE(p) *)0, 0)))
#define perf_submit(ctx, data, size) perf_submit(ctx, ({ __BCC_KEEP_TYPE(data); (data); }), size)
#define perf_submit_skb(ctx, skb_size, data, size) \
	perf_submit_skb(ctx, skb_size, ({ __BCC_KEEP_TYPE(data); (data); }), size)
#define ringbuf_output(data, size, flags) ringbuf_output(({ __BCC_KEEP_TYPE(data); (data); }), size, flags)

/* Maps with keys and values. */
#define BPF_F_TABLE(TYPE, K, V, NAME, SIZE, FLAGS)                                                              \
	_Static_assert(__BCC_TYPE(TYPE, typeof(K)) != -1, "'" #TYPE "' is no type of a bcc table");             \
	struct {                                                                                                \
		__bcc_uint(type, __BCC_TYPE(TYPE, typeof(K)));                                                  \
		__bcc_uint(max_entries, SIZE);                                                                  \
		__bcc_uint(map_flags, FLAGS);                                                                   \
		typeof(K) *key;                                                                                 \
		typeof(V) *value;                                                                               \
	} __BCC_MAP_OBJECT(NAME);                                                                               \
	__BCC_METHODS(NAME, __BCC_TYPE(TYPE, typeof(K)), K, V)
#define BPF_TABLE(TYPE, K, V, NAME, SIZE) BPF_F_TABLE(TYPE, K, V, NAME, SIZE, 0)
#define BPF_TABLE_PUBLIC(TYPE, K, V, NAME, SIZE) BPF_TABLE(TYPE, K, V, NAME, SIZE)
#define BPF_TABLE_SHARED(TYPE, K, V, NAME, SIZE) BPF_TABLE(TYPE, K, V, NAME, SIZE)
#define __BCC_PINNED5(TYPE, K, V, NAME, SIZE, PATH) BPF_TABLE(TYPE, K, V, NAME, SIZE)
#define __BCC_PINNED6(TYPE, K, V, NAME, SIZE, PATH, FLAGS) BPF_F_TABLE(TYPE, K, V, NAME, SIZE, FLAGS)
#define __BCC_8TH(a, b, c, d, e, f, g, h, ...) h
#define BPF_TABLE_PINNED(...) __BCC_8TH(__VA_ARGS__, __BCC_PINNED6, __BCC_PINNED5)(__VA_ARGS__)

/* Picks a macro by the number of arguments, one to five. */
#define __BCC_PICK(a, b, c, d, e, f, ...) f

#define __BCC_HASH1(T, NAME) BPF_TABLE(T, u64, u64, NAME, 10240)
#define __BCC_HASH2(T, NAME, K) BPF_TABLE(T, K, u64, NAME, 10240)
#define __BCC_HASH3(T, NAME, K, V) BPF_TABLE(T, K, V, NAME, 10240)
#define __BCC_HASH4(T, NAME, K, V, SIZE) BPF_TABLE(T, K, V, NAME, SIZE)
#define __BCC_HASH(T, ...) \
	__BCC_PICK(__VA_ARGS__, , __BCC_HASH4, __BCC_HASH3, __BCC_HASH2, __BCC_HASH1)(T, __VA_ARGS__)
#define BPF_HASH(...) __BCC_HASH("hash", __VA_ARGS__)
#define BPF_PERCPU_HASH(...) __BCC_HASH("percpu_hash", __VA_ARGS__)
#define BPF_LRU_HASH(...) __BCC_HASH("lru_hash", __VA_ARGS__)
#define BPF_LRU_PERCPU_HASH(...) __BCC_HASH("lru_percpu_hash", __VA_ARGS__)

#define __BCC_ARRAY1(T, NAME) BPF_TABLE(T, int, u64, NAME, 10240)
#define __BCC_ARRAY2(T, NAME, V) BPF_TABLE(T, int, V, NAME, 10240)
#define __BCC_ARRAY3(T, NAME, V, SIZE) BPF_TABLE(T, int, V, NAME, SIZE)
#define __BCC_ARRAY(T, ...) __BCC_PICK(__VA_ARGS__, , , __BCC_ARRAY3, __BCC_ARRAY2, __BCC_ARRAY1)(T, __VA_ARGS__)
#define BPF_ARRAY(...) __BCC_ARRAY("array", __VA_ARGS__)
#define BPF_PERCPU_ARRAY(...) __BCC_ARRAY("percpu_array", __VA_ARGS__)

#define __BCC_HIST1(NAME) BPF_TABLE("histogram", int, u64, NAME, 64)
#define __BCC_HIST2(NAME, K) BPF_TABLE("histogram", K, u64, NAME, 64)
#define __BCC_HIST3(NAME, K, SIZE) BPF_TABLE("histogram", K, u64, NAME, SIZE)
#define BPF_HISTOGRAM(...) __BCC_PICK(__VA_ARGS__, , , __BCC_HIST3, __BCC_HIST2, __BCC_HIST1)(__VA_ARGS__)

#define __BCC_LPM1(NAME) BPF_F_TABLE("lpm_trie", u64, u64, NAME, 10240, BPF_F_NO_PREALLOC)
#define __BCC_LPM2(NAME, K) BPF_F_TABLE("lpm_trie", K, u64, NAME, 10240, BPF_F_NO_PREALLOC)
#define __BCC_LPM3(NAME, K, V) BPF_F_TABLE("lpm_trie", K, V, NAME, 10240, BPF_F_NO_PREALLOC)
#define __BCC_LPM4(NAME, K, V, SIZE) BPF_F_TABLE("lpm_trie", K, V, NAME, SIZE, BPF_F_NO_PREALLOC)
#define BPF_LPM_TRIE(...) \
	__BCC_PICK(__VA_ARGS__, , __BCC_LPM4, __BCC_LPM3, __BCC_LPM2, __BCC_LPM1)(__VA_ARGS__)

/* Stack traces. The semicolon is often left out behind these, and often not. */
struct bpf_stacktrace {
	u64 ip[127];
};
struct bpf_stacktrace_buildid {
	struct bpf_stack_build_id trace[127];
};
#define BPF_STACK_TRACE(NAME, SIZE) BPF_TABLE("stacktrace", int, struct bpf_stacktrace, NAME, __BCC_ROUND(SIZE));
#define BPF_STACK_TRACE_BUILDID(NAME, SIZE) \
	BPF_F_TABLE("stacktrace", int, struct bpf_stacktrace_buildid, NAME, __BCC_ROUND(SIZE), BPF_F_STACK_BUILD_ID);
#define __BCC_ROUND(n) (n)

/* Files of other kinds: programs, perf events, control groups, devices, sockets. */
#define __BCC_FD_MAP(TYPE, KEY, NAME, SIZE)                 \
	struct {                                            \
		__bcc_uint(type, TYPE);                     \
		__bcc_uint(max_entries, SIZE);              \
		KEY *key;                                   \
		__u32 *value;                               \
	} __BCC_MAP_OBJECT(NAME);                           \
	__BCC_METHODS(NAME, TYPE, KEY, __u32)
#define BPF_PERF_OUTPUT(NAME)                                    \
	struct {                                                 \
		__bcc_uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); \
		int *key;                                        \
		__u32 *value;                                    \
	} __BCC_MAP_OBJECT(NAME);                                \
	__BCC_METHODS(NAME, BPF_MAP_TYPE_PERF_EVENT_ARRAY, int, __u32)
#define BPF_PERF_ARRAY(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_PERF_EVENT_ARRAY, int, NAME, SIZE)
#define BPF_PROG_ARRAY(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_PROG_ARRAY, __u32, NAME, SIZE)
#define BPF_CGROUP_ARRAY(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_CGROUP_ARRAY, int, NAME, SIZE)
#define BPF_DEVMAP(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_DEVMAP, int, NAME, SIZE)
#define BPF_DEVMAP_HASH(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_DEVMAP_HASH, int, NAME, SIZE)
#define BPF_CPUMAP(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_CPUMAP, int, NAME, SIZE)
#define BPF_XSKMAP(NAME, SIZE, ...) __BCC_FD_MAP(BPF_MAP_TYPE_XSKMAP, int, NAME, SIZE)
#define BPF_SOCKMAP(NAME, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_SOCKMAP, __u32, NAME, SIZE)
#define BPF_SOCKMAP_COMMON(NAME, SIZE) BPF_SOCKMAP(NAME, SIZE)
#define BPF_SOCKHASH(...) __BCC_PICK(__VA_ARGS__, , , __BCC_SOCKHASH3, __BCC_SOCKHASH2, __BCC_SOCKHASH1)(__VA_ARGS__)
#define __BCC_SOCKHASH1(NAME) __BCC_FD_MAP(BPF_MAP_TYPE_SOCKHASH, __u32, NAME, 10240)
#define __BCC_SOCKHASH2(NAME, K) __BCC_FD_MAP(BPF_MAP_TYPE_SOCKHASH, K, NAME, 10240)
#define __BCC_SOCKHASH3(NAME, K, SIZE) __BCC_FD_MAP(BPF_MAP_TYPE_SOCKHASH, K, NAME, SIZE)

/* Ring buffers, of so many pages. */
#define BPF_RINGBUF_OUTPUT(NAME, PAGES)                           \
	struct {                                                  \
		__bcc_uint(type, BPF_MAP_TYPE_RINGBUF);           \
		__bcc_uint(max_entries, (PAGES) * 4096);          \
	} __BCC_MAP_OBJECT(NAME);                                 \
	__BCC_METHODS(NAME, BPF_MAP_TYPE_RINGBUF, int, __u32)

/* Queues and stacks have values only. */
#define BPF_QUEUESTACK(TYPE, NAME, V, SIZE, FLAGS)      \
	struct {                                        \
		__bcc_uint(type, __BCC_TYPE(TYPE, int)); \
		__bcc_uint(max_entries, SIZE);          \
		__bcc_uint(map_flags, FLAGS);           \
		typeof(V) *value;                       \
	} __BCC_MAP_OBJECT(NAME);                       \
	__BCC_METHODS(NAME, __BCC_TYPE(TYPE, int), int, V)
#define __BCC_QUEUE3(T, NAME, V, SIZE) BPF_QUEUESTACK(T, NAME, V, SIZE, 0)
#define __BCC_QUEUE4(T, NAME, V, SIZE, FLAGS) BPF_QUEUESTACK(T, NAME, V, SIZE, FLAGS)
#define BPF_QUEUE(...) __BCC_PICK(__VA_ARGS__, , __BCC_QUEUE4, __BCC_QUEUE3, , )("queue", __VA_ARGS__)
#define BPF_STACK(...) __BCC_PICK(__VA_ARGS__, , __BCC_QUEUE4, __BCC_QUEUE3, , )("stack", __VA_ARGS__)

/* Maps of maps: the inner map is told by its name in text, which the loader reads from the declaration's tag. */
#define __BCC_OF_MAPS(TYPE, K, INNER, NAME, SIZE)                                                      \
	struct {                                                                                       \
		__bcc_uint(type, TYPE);                                                                \
		__bcc_uint(max_entries, SIZE);                                                         \
		typeof(K) *key;                                                                        \
		__u32 *value;                                                                          \
	} __BCC_MAP_OBJECT(NAME) __attribute__((btf_decl_tag("bcc:inner:" INNER)));                    \
	__BCC_METHODS(NAME, TYPE, K, __u32)
#define BPF_ARRAY_OF_MAPS(NAME, INNER, SIZE) __BCC_OF_MAPS(BPF_MAP_TYPE_ARRAY_OF_MAPS, int, INNER, NAME, SIZE)
#define __BCC_HASH_OF_MAPS3(NAME, K, INNER) __BCC_OF_MAPS(BPF_MAP_TYPE_HASH_OF_MAPS, K, INNER, NAME, 10240)
#define __BCC_HASH_OF_MAPS4(NAME, K, INNER, SIZE) __BCC_OF_MAPS(BPF_MAP_TYPE_HASH_OF_MAPS, K, INNER, NAME, SIZE)
#define BPF_HASH_OF_MAPS(...) \
	__BCC_PICK(__VA_ARGS__, , __BCC_HASH_OF_MAPS4, __BCC_HASH_OF_MAPS3, , )(__VA_ARGS__)

/* Storage in kernel objects. */
#define __BCC_STORAGE(TYPE, NAME, V)                     \
	struct {                                         \
		__bcc_uint(type, TYPE);                  \
		__bcc_uint(map_flags, BPF_F_NO_PREALLOC); \
		int *key;                                \
		typeof(V) *value;                        \
	} __BCC_MAP_OBJECT(NAME);                        \
	__BCC_METHODS(NAME, TYPE, int, V)
#define BPF_SK_STORAGE(NAME, V) __BCC_STORAGE(BPF_MAP_TYPE_SK_STORAGE, NAME, V)
#define BPF_INODE_STORAGE(NAME, V) __BCC_STORAGE(BPF_MAP_TYPE_INODE_STORAGE, NAME, V)
#define BPF_TASK_STORAGE(NAME, V) __BCC_STORAGE(BPF_MAP_TYPE_TASK_STORAGE, NAME, V)
#define __BCC_CGROUP_STORAGE(TYPE, NAME, V)                  \
	struct {                                             \
		__bcc_uint(type, TYPE);                      \
		struct bpf_cgroup_storage_key *key;          \
		typeof(V) *value;                            \
	} __BCC_MAP_OBJECT(NAME);                            \
	__BCC_METHODS(NAME, TYPE, struct bpf_cgroup_storage_key, V)
#define BPF_CGROUP_STORAGE(NAME, V) __BCC_CGROUP_STORAGE(BPF_MAP_TYPE_CGROUP_STORAGE, NAME, V)
#define BPF_PERCPU_CGROUP_STORAGE(NAME, V) __BCC_CGROUP_STORAGE(BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, NAME, V)

/*
 * The type of what is sent, for whoever decodes it: BTF has the types of variables that lie in sections, not of locals.
 * The section is none that a loader makes a map of.
 */
#define __BCC_RECORD(data)                                                                          \
	({                                                                                          \
		static typeof(data) __bcc_record __attribute__((used, section(".bcc.records")));    \
		(data);                                                                             \
	})
#define perf_submit(ctx, data, size) perf_submit(ctx, __BCC_RECORD(data), size)
#define ringbuf_output(data, size, flags) ringbuf_output(__BCC_RECORD(data), size, flags)
#define ringbuf_submit(data, flags) ringbuf_submit(__BCC_RECORD(data), flags)
