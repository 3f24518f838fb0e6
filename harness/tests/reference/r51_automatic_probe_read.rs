//! Row 51: simple dereferences of kernel pointers become `bpf_probe_read`.

use crate::support::bcc;

#[test]
fn members_chains_and_bit_fields_are_read() {
    let Some(mut bpf) = bcc(r#"
        struct out_t { u32 len; u32 port; u64 ino; };
        BPF_ARRAY(out, struct out_t, 1);
        int kprobe__blk_mq_start_request(struct pt_regs *ctx, struct request *req, struct file *file, struct sock *sk) {
            int zero = 0;
            struct out_t o = {};
            o.len = req->__data_len;
            o.ino = file->f_inode->i_ino;
            o.port = sk->__sk_common.skc_dport;
            out.update(&zero, &o);
            return 0;
        }
    "#) else {
        return;
    };
    let req = bpf.kernel_object("request", &[("__data_len", 4096)]).unwrap();
    let inode = bpf.kernel_object("inode", &[("i_ino", 77)]).unwrap();
    let file = bpf.kernel_object("file", &[("f_inode", inode.addr)]).unwrap();
    let sk = bpf.kernel_object("sock", &[("__sk_common.skc_dport", 0x5000)]).unwrap();
    bpf.kprobe("blk_mq_start_request").args([req.addr, file.addr, sk.addr]).fire().unwrap();
    let out = bpf.table("out").unwrap();
    let out = out.get(0).unwrap();
    assert_eq!(out["len"], 4096);
    assert_eq!(out["ino"], 77);
    assert_eq!(out["port"], 0x5000);
}

/// Objects that a path only passes through are made on the way, and lie where the program finds them.
#[test]
fn objects_on_the_way_to_a_member_are_read_too() {
    let Some(mut bpf) = bcc(r#"
        struct out_t { u64 ino; u64 flags; u64 dev; u64 again; };
        BPF_ARRAY(out, struct out_t, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, struct file *file) {
            int zero = 0;
            struct out_t o = {};
            o.ino = file->f_inode->i_ino;
            o.flags = file->f_inode->i_sb->s_flags;
            o.dev = file->f_inode->i_sb->s_dev;
            o.again = file->f_inode->i_mapping->host->i_ino;
            out.update(&zero, &o);
            return 0;
        }
    "#) else {
        return;
    };
    let host = bpf.kernel_object("inode", &[("i_ino", 88)]).unwrap();
    let members = [
        ("f_inode.i_sb.s_flags", 5),
        ("f_inode.i_ino", 77),
        ("f_inode.i_sb.s_dev", 9),
        ("f_inode.i_mapping.host", host.addr),
    ];
    let file = bpf.kernel_object("file", &members).unwrap();
    bpf.kprobe("vfs_read").args([file.addr]).fire().unwrap();
    let out = bpf.table("out").unwrap();
    let out = out.get(0).unwrap();
    assert_eq!(["ino", "flags", "dev", "again"].map(|m| out[m].as_u64().unwrap()), [77, 5, 9, 88]);
}

/// As with bcc's rewrite, what cannot be read is 0 and the program goes on.
#[test]
fn a_pointer_to_nothing_reads_zero() {
    let Some(mut bpf) = bcc(r#"
        BPF_ARRAY(out, u64, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, struct file *file) {
            int zero = 0;
            u64 ino = file->f_inode->i_ino + 1;
            out.update(&zero, &ino);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.kprobe("vfs_read").args([0]).fire().unwrap();
    assert_eq!(bpf.table("out").unwrap().get(0).unwrap(), &1u64);
}

/// Maps, the stack and the context are read directly, as written.
#[test]
fn what_may_be_read_directly_is_left_alone() {
    let Some(bpf) = bcc(r#"
        BPF_HASH(counts, u32);
        int kprobe__vfs_read(struct pt_regs *ctx) {
            u32 key = PT_REGS_PARM1(ctx);
            u64 *v = counts.lookup(&key);
            return v ? *v : 0;
        }
    "#) else {
        return;
    };
    let program = bpf.program("kprobe__vfs_read").unwrap();
    let calls: Vec<i32> =
        program.insns.iter().filter(|i| i.opcode == 0x85 && i.src == 0).map(|i| i.imm).collect();
    assert_eq!(calls, [1], "bpf_map_lookup_elem alone");
}
