//! The tracepoints that come with the crate.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::format::{Field, Format};

const FORMATS: &str = include_str!("../../../data/tracepoints.txt");
const SYSCALLS: &str = include_str!("../../../data/syscalls.txt");
/// Where the first argument, or the result, of a system call is.
const FIRST_WORD: u32 = 16;

/// A system call of x86-64.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Syscall {
    /// Its name, as in `sys_enter_NAME` and `__x64_sys_NAME`.
    pub name: &'static str,
    /// The declarations of its arguments.
    pub args: Vec<&'static str>,
}

/// The system calls of the bundled kernel, sorted by name.
///
/// ```
/// let openat = bpf_harness::profile::tracepoints::syscalls().find(|s| s.name == "openat").unwrap();
/// assert_eq!(openat.args, ["int dfd", "const char * filename", "int flags", "umode_t mode"]);
/// ```
pub fn syscalls() -> impl Iterator<Item = Syscall> {
    SYSCALLS.lines().filter_map(syscall)
}

fn syscall(line: &'static str) -> Option<Syscall> {
    let (name, args) = line.split_once('(').filter(|(name, _)| !name.starts_with('#'))?;
    let args = args.trim_end_matches(')').split(", ").filter(|a| !a.is_empty()).collect();
    Some(Syscall { name, args })
}

pub(super) fn find(category: &str, event: &str) -> Option<Format> {
    let fields = if category == "syscalls" { syscall_fields(event)? } else { fields(category, event)? };
    Some(Format { category: category.to_owned(), event: event.to_owned(), fields })
}

pub(super) fn names() -> impl Iterator<Item = (String, String)> {
    let others = index().keys().map(|(c, e)| ((*c).to_owned(), (*e).to_owned()));
    let point = |when: &str, s: &Syscall| ("syscalls".to_owned(), format!("sys_{when}_{}", s.name));
    others.chain(syscalls().flat_map(move |s| [point("enter", &s), point("exit", &s)]))
}

fn fields(category: &str, event: &str) -> Option<Vec<Field>> {
    let text = index().get(&(category, event))?;
    Some(text.lines().map_while(Field::parse).collect())
}

/// The text that begins with the first field of each event.
fn index() -> &'static BTreeMap<(&'static str, &'static str), &'static str> {
    static INDEX: OnceLock<BTreeMap<(&str, &str), &str>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let blocks = FORMATS.split("\n\n").filter(|b| !b.starts_with('#'));
        let names = blocks.flat_map(|block| {
            let (names, fields) = block.split_once('\n').unwrap_or((block, ""));
            names.split_whitespace().filter_map(move |n| Some((n.split_once(':')?, fields)))
        });
        names.collect()
    })
}

/// `kernel/trace/trace_syscalls.c`: the number, then a word for each argument, or the result.
fn syscall_fields(event: &str) -> Option<Vec<Field>> {
    let field = |decl: &str, offset, size, signed| {
        let line = format!("field:{decl}; offset:{offset}; size:{size}; signed:{};", u8::from(signed));
        Field::parse(&line)
    };
    let enter = event.strip_prefix("sys_enter_");
    let name = enter.or_else(|| event.strip_prefix("sys_exit_"))?;
    let syscall = syscalls().find(|s| s.name == name)?;
    let mut fields = vec![field("int __syscall_nr", 8, 4, true)?];
    if enter.is_none() {
        fields.push(field("long ret", FIRST_WORD, 8, true)?);
        return Some(fields);
    }
    for (i, arg) in (0..).zip(&syscall.args) {
        fields.push(field(arg, FIRST_WORD + 8 * i, 8, false)?);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::{find, index, names, syscalls};

    #[test]
    fn every_event_has_fields_that_do_not_overlap() {
        let mut events = 0;
        for (category, event) in names() {
            let format = find(&category, &event).unwrap();
            assert_eq!(format.layout().unwrap().event, event);
            let mut end = 8;
            for f in &format.fields {
                assert!(
                    f.offset >= end,
                    "{category}:{event}: {} at {} begins before {end}",
                    f.name,
                    f.offset
                );
                end = f.offset + f.size;
            }
            events += 1;
        }
        assert_eq!(events, index().len() + 2 * syscalls().count());
    }

    #[test]
    fn events_that_tools_use_are_there() {
        for name in "block:block_rq_complete block:block_rq_insert block:block_rq_issue irq:irq_handler_entry \
                     irq:irq_handler_exit irq:softirq_entry irq:softirq_exit kmem:kmalloc kmem:kmem_cache_alloc \
                     kmem:kmem_cache_alloc_node kmem:kmem_cache_free kmem:mm_page_alloc kmem:mm_page_free \
                     migrate:mm_migrate_pages net:net_dev_queue net:net_dev_start_xmit net:netif_receive_skb \
                     oom:mark_victim power:cpu_frequency power:cpu_idle random:urandom_read raw_syscalls:sys_enter \
                     raw_syscalls:sys_exit sched:sched_migrate_task sched:sched_process_exec sched:sched_process_exit \
                     sched:sched_process_fork sched:sched_switch sched:sched_wakeup sched:sched_wakeup_new \
                     signal:signal_deliver signal:signal_generate skb:kfree_skb sock:inet_sock_set_state \
                     syscalls:sys_enter_execve syscalls:sys_exit_openat task:task_newtask task:task_rename \
                     tcp:tcp_destroy_sock tcp:tcp_probe tcp:tcp_rcv_space_adjust tcp:tcp_receive_reset \
                     tcp:tcp_retransmit_skb tcp:tcp_retransmit_synack tcp:tcp_send_reset timer:hrtimer_expire_entry \
                     timer:timer_start vmscan:mm_vmscan_direct_reclaim_begin vmscan:mm_vmscan_direct_reclaim_end \
                     vmscan:mm_vmscan_kswapd_wake workqueue:workqueue_execute_start writeback:writeback_start \
                     exceptions:page_fault_user xdp:xdp_exception kvm:kvm_exit ext4:ext4_sync_file_enter \
                     jbd2:jbd2_run_stats btrfs:btrfs_sync_file module:module_load nvme:nvme_setup_cmd \
                     compaction:mm_compaction_begin cgroup:cgroup_mkdir filemap:mm_filemap_add_to_page_cache"
            .split_whitespace()
        {
            let (category, event) = name.split_once(':').unwrap();
            assert!(find(category, event).is_some(), "{name}");
        }
    }

    #[test]
    fn records_of_system_calls_have_their_arguments_by_name() {
        let openat = find("syscalls", "sys_enter_openat").unwrap();
        let fields: Vec<_> = openat.fields.iter().map(|f| (f.name.as_str(), f.offset, f.size)).collect();
        let expected =
            [("__syscall_nr", 8, 4), ("dfd", 16, 8), ("filename", 24, 8), ("flags", 32, 8), ("mode", 40, 8)];
        assert_eq!(fields, expected);
        let exit = find("syscalls", "sys_exit_getpid").unwrap();
        assert_eq!(
            exit.fields.last().map(|f| (f.name.as_str(), f.offset, f.signed)),
            Some(("ret", 16, true))
        );
        assert_eq!(find("syscalls", "sys_enter_nonsense"), None);
    }
}
