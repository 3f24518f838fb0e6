//! What an expansion says, and what a kernel did: in each task for itself.

use super::exceptions::{ANYTIME, is_excepted, subject};
use super::points::{Points, Seen};
use super::say::{Names, Told};

/// Which of an action's tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Actor,
    Child,
    /// A thread of the kernel's, which has other things to do too.
    Worker,
}

/// What was traced of an action, and what its numbers are called.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) traced: Vec<(Option<Role>, Seen, Told)>,
    pub(super) names: Names,
}

/// How much was compared.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Count {
    /// Points in their order, and those that come at any time.
    points: usize,
    anytime: usize,
    pub(super) values: usize,
    excepted: usize,
    /// Points whose arguments the kernel's types do not tell.
    untyped: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.anytime += other.anytime;
        self.values += other.values;
        self.excepted += other.excepted;
        self.untyped += other.untyped;
    }
}

/// What differs between two runs.
pub(super) struct Comparison<'a> {
    pub(super) points: &'a Points,
    pub(super) count: Count,
    pub(super) wrong: Vec<String>,
    /// The points, or their order, differ.
    pub(super) shifted: bool,
}

/// The two runs.
struct Both {
    want: Run,
    got: Run,
}

impl Run {
    /// What one task came by: what comes at any time, or all else.
    fn of(&self, role: Role, anytime: bool) -> Vec<(Seen, Told)> {
        let mine = |(r, s, _): &&(Option<Role>, Seen, Told)| *r == Some(role) && is_anytime(s) == anytime;
        self.traced.iter().filter(mine).map(|(_, s, t)| (s.clone(), t.clone())).collect()
    }
}

/// Whether a kernel may have it at other times, or miss it: it keeps as many returns of a function in mind as it has CPUs,
/// and this one calls itself by way of the loopback.
fn is_anytime(seen: &Seen) -> bool {
    ANYTIME.contains(&seen.name.as_str()) || seen.way == '<' && seen.name == "tcp_rcv_state_process"
}

impl Comparison<'_> {
    /// Compares all of both tasks, again if it was done before. `among`: the kernel comes by the same points for other
    /// reasons too.
    pub(super) fn compare(&mut self, want: Run, got: Run, among: bool) {
        self.wrong.retain(|w| w.starts_with("  not there"));
        (self.count, self.shifted) = (Count::default(), false);
        let mut both = Both { want, got };
        for role in [Role::Actor, Role::Child, Role::Worker] {
            self.in_order(&mut both, role, among || role == Role::Worker);
        }
        for role in [Role::Actor, Role::Child] {
            self.at_any_time(&mut both, role);
        }
    }

    fn in_order(&mut self, both: &mut Both, role: Role, among: bool) {
        let (want, mut got) = (both.want.of(role, false), both.got.of(role, false));
        // The test itself goes on, and makes system calls.
        while got.len() > want.len() && got.last().is_some_and(|(s, _)| s.name.starts_with("raw_syscalls:")) {
            got.pop();
        }
        if among {
            keep_wanted(&want, &mut got);
        }
        if !want.iter().map(|(s, _)| s).eq(got.iter().map(|(s, _)| s)) {
            let same = want.iter().zip(&got).take_while(|(a, b)| a.0 == b.0).count();
            let part = |list: &[(Seen, Told)]| {
                let list = list.iter().skip(same.saturating_sub(2)).take(8);
                list.map(|(s, _)| s.to_string()).collect::<Vec<_>>().join(", ")
            };
            let (len, want, got) = (want.len(), part(&want), part(&got));
            self.wrong.push(format!("  {role:?}, from {same} of {len}: expected [{want}], seen [{got}]"));
            self.shifted = true;
            return;
        }
        for ((seen, want), (_, got)) in want.iter().zip(&got) {
            self.count.points += 1;
            let differences = self.values(both, seen, want, got);
            self.wrong.extend(differences.into_iter().map(|d| format!("  {role:?}, {seen}: {d}")));
        }
    }

    /// What the scheduler and timers are told by the action itself. A parent that comes too late for its child's end does
    /// not sleep, and is not woken.
    fn at_any_time(&mut self, both: &mut Both, role: Role) {
        let got = both.got.of(role, true);
        for (seen, want) in both.want.of(role, true) {
            let Some(subject) = subject(&seen) else { continue };
            let before = self.count;
            let mut nearest: Option<(Vec<String>, Count)> = None;
            for (_, got) in got.iter().filter(|(s, _)| *s == seen) {
                self.count = before;
                let differences = self.values(both, &seen, &want, got);
                let is_same = !differences.iter().any(|d| d.starts_with(&format!("{subject}:")));
                if is_same && nearest.as_ref().is_none_or(|(n, _)| differences.len() < n.len()) {
                    nearest = Some((differences, self.count));
                }
            }
            self.count = before;
            if let Some((differences, count)) = nearest {
                self.count = count;
                self.count.anytime += 1;
                self.wrong.extend(differences.into_iter().map(|d| format!("  {role:?}, {seen}: {d}")));
            }
        }
    }

    /// What differs of the values at one point.
    fn values(&mut self, both: &mut Both, seen: &Seen, want: &Told, got: &Told) -> Vec<String> {
        let Some(plan) = self.points.plan(want) else {
            self.count.untyped += 1;
            return Vec::new();
        };
        let (want, got) = (both.want.names.all(plan, want), both.got.names.all(plan, got));
        let mut differences = Vec::new();
        for (name, want) in &want {
            if is_excepted(seen, name) {
                self.count.excepted += 1;
                continue;
            }
            self.count.values += 1;
            // What a pointer that is none points at is in neither list.
            let got = got.iter().find(|(n, _)| n == name).map_or("nothing", |(_, got)| got);
            if want != got {
                differences.push(format!("{name}: expected {want}, seen {got}"));
            }
        }
        differences
    }
}

/// Drops what was seen besides what is wanted, which keeps its order.
fn keep_wanted(want: &[(Seen, Told)], got: &mut Vec<(Seen, Told)>) {
    let mut rest = want.iter();
    let mut next = rest.next();
    got.retain(|(s, _)| {
        let wanted = next.is_some_and(|(w, _)| w == s);
        if wanted {
            next = rest.next();
        }
        wanted
    });
}
