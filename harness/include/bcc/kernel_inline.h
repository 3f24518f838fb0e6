/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Macros and small functions of the kernel's headers that tracing programs use: other names of members, casts, parts of numbers. */

#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define MINORMASK ((1U << MINORBITS) - 1)
#define MAJOR(dev) ((unsigned int)((dev) >> MINORBITS))
#define MINOR(dev) ((unsigned int)((dev)&MINORMASK))
#define MKDEV(ma, mi) (((ma) << MINORBITS) | (mi))
#define new_encode_dev(dev) ((MINOR(dev) & 0xff) | (MAJOR(dev) << 8) | ((MINOR(dev) & ~0xffU) << 12))

/* include/net/sock.h, include/net/inet_sock.h, include/net/inet_timewait_sock.h, include/net/request_sock.h */
#define sk_node __sk_common.skc_node
#define sk_refcnt __sk_common.skc_refcnt
#define sk_hash __sk_common.skc_hash
#define sk_portpair __sk_common.skc_portpair
#define sk_num __sk_common.skc_num
#define sk_dport __sk_common.skc_dport
#define sk_addrpair __sk_common.skc_addrpair
#define sk_daddr __sk_common.skc_daddr
#define sk_rcv_saddr __sk_common.skc_rcv_saddr
#define sk_family __sk_common.skc_family
#define sk_state __sk_common.skc_state
#define sk_reuse __sk_common.skc_reuse
#define sk_reuseport __sk_common.skc_reuseport
#define sk_ipv6only __sk_common.skc_ipv6only
#define sk_bound_dev_if __sk_common.skc_bound_dev_if
#define sk_bind_node __sk_common.skc_bind_node
#define sk_prot __sk_common.skc_prot
#define sk_net __sk_common.skc_net
#define sk_v6_daddr __sk_common.skc_v6_daddr
#define sk_v6_rcv_saddr __sk_common.skc_v6_rcv_saddr
#define sk_cookie __sk_common.skc_cookie
#define sk_incoming_cpu __sk_common.skc_incoming_cpu
#define sk_flags __sk_common.skc_flags
#define inet_daddr sk.__sk_common.skc_daddr
#define inet_rcv_saddr sk.__sk_common.skc_rcv_saddr
#define inet_dport sk.__sk_common.skc_dport
#define inet_num sk.__sk_common.skc_num
#define ir_loc_addr req.__req_common.skc_rcv_saddr
#define ir_rmt_addr req.__req_common.skc_daddr
#define ir_num req.__req_common.skc_num
#define ir_rmt_port req.__req_common.skc_dport
#define ir_v6_rmt_addr req.__req_common.skc_v6_daddr
#define ir_v6_loc_addr req.__req_common.skc_v6_rcv_saddr
#define ir_iif req.__req_common.skc_bound_dev_if
#define tw_family __tw_common.skc_family
#define tw_num __tw_common.skc_num
#define tw_dport __tw_common.skc_dport
#define tw_daddr __tw_common.skc_daddr
#define tw_rcv_saddr __tw_common.skc_rcv_saddr
#define tw_net __tw_common.skc_net
#define s6_addr in6_u.u6_addr8
#define s6_addr16 in6_u.u6_addr16
#define s6_addr32 in6_u.u6_addr32

/* Casts of sockets to the protocols' own. */
#define inet_sk(ptr) ((struct inet_sock *)(ptr))
#define inet_csk(ptr) ((struct inet_connection_sock *)(ptr))
#define tcp_sk(ptr) ((struct tcp_sock *)(ptr))
#define udp_sk(ptr) ((struct udp_sock *)(ptr))
#define unix_sk(ptr) ((struct unix_sock *)(ptr))
#define inet_rsk(ptr) ((struct inet_request_sock *)(ptr))
#define tcp_rsk(ptr) ((struct tcp_request_sock *)(ptr))
#define inet_twsk(ptr) ((struct inet_timewait_sock *)(ptr))

/* Headers of packets in a socket buffer. */
#define skb_transport_header(skb) ((skb)->head + (skb)->transport_header)
#define skb_network_header(skb) ((skb)->head + (skb)->network_header)
#define skb_mac_header(skb) ((skb)->head + (skb)->mac_header)
#define ip_hdr(skb) ((struct iphdr *)skb_network_header(skb))
#define ipv6_hdr(skb) ((struct ipv6hdr *)skb_network_header(skb))
#define tcp_hdr(skb) ((struct tcphdr *)skb_transport_header(skb))
#define udp_hdr(skb) ((struct udphdr *)skb_transport_header(skb))
#define icmp_hdr(skb) ((struct icmphdr *)skb_transport_header(skb))
#define eth_hdr(skb) ((struct ethhdr *)skb_mac_header(skb))

/* Files and block requests. */
#define file_inode(file) ((file)->f_inode)
#define REQ_OP_MASK ((1 << REQ_OP_BITS) - 1)
#define req_op(rq) ((rq)->cmd_flags & REQ_OP_MASK)
#define bio_op(bio) ((bio)->bi_opf & REQ_OP_MASK)
#define op_is_write(op) ((op)&1)
#define rq_data_dir(rq) (op_is_write((rq)->cmd_flags) ? 1 : 0)
#define blk_rq_pos(rq) ((rq)->__sector)
#define blk_rq_bytes(rq) ((rq)->__data_len)
#define blk_rq_sectors(rq) ((rq)->__data_len >> SECTOR_SHIFT)

/* Numbers. */
#define div_u64(a, b) ((u64)(a) / (u32)(b))
#define div64_u64(a, b) ((u64)(a) / (u64)(b))
#define div64_ul(a, b) ((u64)(a) / (unsigned long)(b))
#define do_div(n, base)                          \
	({                                       \
		u32 __bcc_rem = (n) % (u32)(base); \
		(n) /= (u32)(base);              \
		__bcc_rem;                       \
	})
#define clamp(v, lo, hi) min(max(v, lo), hi)
#define swap(a, b) do { typeof(a) __bcc_t = (a); (a) = (b); (b) = __bcc_t; } while (0)
#define offsetofend(type, member) (offsetof(type, member) + sizeof_field(type, member))
#define test_bit(n, addr) ((((const unsigned long *)(addr))[(n) / 64] >> ((n) % 64)) & 1)
#define U8_MAX ((u8)~0U)
#define S8_MAX 127
#define U16_MAX ((u16)~0U)
#define S16_MAX 32767
#define U32_MAX ((u32)~0U)
#define S32_MAX 2147483647
#define U64_MAX (~0ULL)
#define S64_MAX ((s64)(U64_MAX >> 1))
#define USHRT_MAX 65535
#define SHRT_MAX 32767
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX (~0U)
#define LONG_MAX ((long)(~0UL >> 1))
#define LONG_MIN (-LONG_MAX - 1)
#define ULONG_MAX (~0UL)
#define LLONG_MAX ((long long)(~0ULL >> 1))
#define ULLONG_MAX (~0ULL)
#define SIZE_MAX (~0UL)
#ifdef CONFIG_HZ
#define HZ CONFIG_HZ
#define jiffies_to_msecs(j) ((unsigned int)((j) * (1000 / HZ)))
#endif

/* Types of files (`include/uapi/linux/stat.h`). */
#define S_ISLNK(m) (((m)&S_IFMT) == S_IFLNK)
#define S_ISREG(m) (((m)&S_IFMT) == S_IFREG)
#define S_ISDIR(m) (((m)&S_IFMT) == S_IFDIR)
#define S_ISCHR(m) (((m)&S_IFMT) == S_IFCHR)
#define S_ISBLK(m) (((m)&S_IFMT) == S_IFBLK)
#define S_ISFIFO(m) (((m)&S_IFMT) == S_IFIFO)
#define S_ISSOCK(m) (((m)&S_IFMT) == S_IFSOCK)

/* Where the kernel's memory lies without randomization (`arch/x86/include/asm/page_64_types.h`). */
#if defined(__TARGET_ARCH_arm64)
#define PAGE_OFFSET 0xffff000000000000UL
#else
#define __PAGE_OFFSET_BASE_L5 0xff11000000000000UL
#define __PAGE_OFFSET_BASE_L4 0xffff888000000000UL
#define PAGE_OFFSET __PAGE_OFFSET_BASE_L4
#define __START_KERNEL_map 0xffffffff80000000UL
#endif

/* Counters, lists and pointers that the kernel wraps. */
#define atomic_read(v) ((v)->counter)
#define atomic64_read(v) ((v)->counter)
#define atomic_long_read(v) ((v)->counter)
#define refcount_read(r) ((r)->refs.counter)
#define kref_read(k) ((k)->refcount.refs.counter)
#define rcu_dereference(p) (p)
#define rcu_dereference_raw(p) (p)
#define rcu_access_pointer(p) (p)
#define smp_load_acquire(p) (*(p))
#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define hlist_entry(ptr, type, member) container_of(ptr, type, member)
#define rb_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first_entry(ptr, type, member) list_entry((ptr)->next, type, member)
#define list_last_entry(ptr, type, member) list_entry((ptr)->prev, type, member)
#define list_next_entry(pos, member) list_entry((pos)->member.next, typeof(*(pos)), member)
#define __kuid_val(uid) ((uid).val)
#define __kgid_val(gid) ((gid).val)
#define ktime_to_ns(t) (t)
#define read_pnet(p) ((p)->net)
#define sock_net(sk) read_pnet(&(sk)->sk_net)
#define dev_net(dev) read_pnet(&(dev)->nd_net)
#define inet6_sk(sk) (((struct inet_sock *)(sk))->pinet6)

/* Tasks, files, pages, requests, packets. */
#define task_pid(task) ((task)->thread_pid)
#define task_cpu(task) ((task)->thread_info.cpu)
#define task_pid_nr(task) ((task)->pid)
#define task_tgid_nr(task) ((task)->tgid)
#define file_dentry(file) ((file)->f_path.dentry)
#define d_inode(dentry) ((dentry)->d_inode)
#define d_backing_inode(dentry) ((dentry)->d_inode)
#define i_size_read(inode) ((inode)->i_size)
#define nth_page(page, n) ((page) + (n))
#define folio_page(folio, n) nth_page(&(folio)->page, n)
#define page_folio(p) ((struct folio *)(p))
#define bio_sectors(bio) ((bio)->bi_iter.bi_size >> SECTOR_SHIFT)
#define bio_data_dir(bio) (op_is_write(bio_op(bio)) ? 1 : 0)
#define skb_rx_queue_recorded(skb) ((skb)->queue_mapping != 0)
#define skb_get_rx_queue(skb) ((skb)->queue_mapping - 1)
#define skb_get_queue_mapping(skb) ((skb)->queue_mapping)
#define skb_end_pointer(skb) ((skb)->head + (skb)->end)
#define skb_shinfo(skb) ((struct skb_shared_info *)skb_end_pointer(skb))
#define skb_headlen(skb) ((skb)->len - (skb)->data_len)
#define skb_is_gso(skb) (skb_shinfo(skb)->gso_size != 0)
#define TCP_SKB_CB(skb) ((struct tcp_skb_cb *)&(skb)->cb[0])
#define tcp_hdrlen(skb) (tcp_hdr(skb)->doff * 4)
#define sockaddr_storage __kernel_sockaddr_storage
#define sg_is_chain(sg) ((sg)->page_link & 1)
#define sg_is_last(sg) ((sg)->page_link & 2)
#define sg_chain_ptr(sg) ((struct scatterlist *)((sg)->page_link & ~3UL))
#define sg_next(sg) (sg_is_last(sg) ? (struct scatterlist *)0 : sg_is_chain((sg) + 1) ? sg_chain_ptr((sg) + 1) : (sg) + 1)
/* Flags of block requests, by the places that the kernel's enumeration gives them. */
#define REQ_FAILFAST_DEV (1ULL << __REQ_FAILFAST_DEV)
#define REQ_FAILFAST_TRANSPORT (1ULL << __REQ_FAILFAST_TRANSPORT)
#define REQ_FAILFAST_DRIVER (1ULL << __REQ_FAILFAST_DRIVER)
#define REQ_SYNC (1ULL << __REQ_SYNC)
#define REQ_META (1ULL << __REQ_META)
#define REQ_PRIO (1ULL << __REQ_PRIO)
#define REQ_NOMERGE (1ULL << __REQ_NOMERGE)
#define REQ_IDLE (1ULL << __REQ_IDLE)
#define REQ_INTEGRITY (1ULL << __REQ_INTEGRITY)
#define REQ_FUA (1ULL << __REQ_FUA)
#define REQ_PREFLUSH (1ULL << __REQ_PREFLUSH)
#define REQ_RAHEAD (1ULL << __REQ_RAHEAD)
#define REQ_BACKGROUND (1ULL << __REQ_BACKGROUND)
#define REQ_NOWAIT (1ULL << __REQ_NOWAIT)
#define REQ_POLLED (1ULL << __REQ_POLLED)
#define REQ_ALLOC_CACHE (1ULL << __REQ_ALLOC_CACHE)
#define REQ_SWAP (1ULL << __REQ_SWAP)
#define REQ_DRV (1ULL << __REQ_DRV)
#define REQ_FS_PRIVATE (1ULL << __REQ_FS_PRIVATE)
#define REQ_ATOMIC (1ULL << __REQ_ATOMIC)
#define REQ_NOUNMAP (1ULL << __REQ_NOUNMAP)
#define roundup(x, y) ((((x) + ((y) - 1)) / (y)) * (y))
#define rounddown(x, y) ((x) - ((x) % (y)))
#define is_idle_task(p) (!!((p)->flags & PF_IDLE))
