//! Code of a process: its functions and its statically defined probes have the same arguments and results on both tiers.

use bpf_harness::stimulus::{Action, Stimulus};
use bpf_harness::usdt::Usdt;
use bpf_harness::{Bpf, Tier};
use serial_test::serial;

use crate::library::library;
use crate::traced::look::Plan;
use crate::traced::say::{Names, Told};

/// What programs at the entry and the return of a function see of its arguments and its result, given by their
/// declarations.
fn seen(place: (&str, &str), args: &[&str], ret: &str, action: &dyn Action) -> Vec<String> {
    let plans = [Plan::arguments(args), Plan::returned(ret)];
    let object = bpf_fixtures::object("points").unwrap();
    let mut bpf = Bpf::builder().object(object).only("entry_10").only("return_10").load().unwrap();
    for (key, plan) in [(10u32, &plans[0]), (110, &plans[1])] {
        bpf.map("plans").unwrap().update(key, plan.bytes()).unwrap();
    }
    bpf.attach_uretprobe(place.0, place.1, "return_10").unwrap();
    bpf.attach_uprobe(place.0, place.1, "entry_10").unwrap();
    // Other processes have the library too. What is read from a file for the first time is there after the first call.
    bpf.stimulate(action).unwrap();
    bpf.take_records("points").unwrap();
    let done = bpf.stimulate(action).unwrap();
    let told = bpf.take_records("points").unwrap();
    let told = told.iter().map(|bytes| Told::new(bytes)).filter(|t| t.pid == done.pid);
    let say = |t: Told| {
        let way = ["> ", "< "][t.kind as usize];
        let all = Names::default().all(&plans[t.kind as usize], &t);
        let all: Vec<String> = all.into_iter().map(|(name, said)| format!("{name}={said}")).collect();
        format!("{way}{}", all.join(" "))
    };
    told.map(say).collect()
}

#[test]
#[serial]
fn functions_are_entered_with_arguments_and_return_results() {
    let args = ["const char * text", "int wanted", "unsigned long limit"];
    for (text, wanted, limit, found) in
        [("banana", 'a', 32u64, 3i32), ("banana", 'a', 3, 1), ("", 'x', 8, -1)]
    {
        let call = Stimulus::user_call("probe:occurrences").text(text).arg(wanted.into()).arg(limit);
        let call = call.ret(found.into()).by(move || Ok(library().occurrences(text, wanted, limit).into()));
        let seen = seen((library().path(), "occurrences"), &args, "int", &call);
        let entry = format!("> text=some text->={text:?} wanted={} limit={limit}", wanted as u32);
        assert_eq!(seen, [entry, format!("< ret={found}")]);
    }
}

#[test]
#[serial]
fn functions_of_libc_are_called_without_being_told_how() {
    let call = Stimulus::user_call("c:getenv").text("BPF_NOT_THERE");
    let seen = seen(("c", "getenv"), &["const char * name"], "char *", &call);
    assert_eq!(seen, ["> name=some name->=\"BPF_NOT_THERE\"", "< ret=none"]);
}

#[test]
#[serial]
fn probes_have_their_arguments_where_the_notes_say() {
    let mut bpf = Bpf::load(bpf_fixtures::object("usdt").unwrap());
    if Tier::from_env().unwrap() == Tier::Kernel {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        // Before 5.15 there are no cookies to find the arguments by.
        if release.starts_with("5.10.") {
            assert!(bpf.unwrap_err().to_string().contains("bpf_get_attach_cookie"));
            return;
        }
    }
    let bpf = bpf.as_mut().unwrap();
    let mut usdt = Usdt::from_path(library().path()).unwrap();
    usdt.enable_probe("job:passed", "on_request").unwrap();
    bpf.attach_usdt(&usdt).unwrap();
    for (code, amount) in [(-2i32, 1i64 << 40), (5, -1)] {
        let hit =
            Stimulus::usdt("job", "passed").arg(u64::from(code.cast_unsigned())).arg(amount.cast_unsigned());
        bpf.stimulate(&hit.arg(7).by(move || Ok(library().pass(code, amount).into()))).unwrap();
        let seen = bpf.get_table("seen").unwrap().typed::<u32, i64>().items().unwrap();
        assert_eq!(seen, [(0, code.into()), (1, amount), (2, 7)]);
    }
}
