//! What an expansion says, and what a kernel did: in each task for itself.

use super::exceptions::{ANYTIME, is_excepted, ours};
use super::points::{Points, Seen};
use super::say::{Names, Told};

/// Which of an action's tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Actor,
    Child,
}

/// What was traced of an action, and what its numbers are called.
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

/// Two runs, and what differs.
pub(super) struct Comparison<'a> {
    pub(super) points: &'a Points,
    pub(super) want: Run,
    pub(super) got: Run,
    pub(super) count: &'a mut Count,
    pub(super) wrong: Vec<String>,
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
    /// Compares all of both tasks. `among`: the kernel comes by the same points for other reasons too.
    pub(super) fn all(&mut self, among: bool) {
        for role in [Role::Actor, Role::Child] {
            self.in_order(role, among);
        }
        for role in [Role::Actor, Role::Child] {
            self.at_any_time(role);
        }
    }

    fn in_order(&mut self, role: Role, among: bool) {
        let (want, mut got) = (self.want.of(role, false), self.got.of(role, false));
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
            return;
        }
        for ((seen, want), (_, got)) in want.iter().zip(&got) {
            self.count.points += 1;
            let differences = self.values(seen, want, got);
            self.wrong.extend(differences.into_iter().map(|d| format!("  {role:?}, {seen}: {d}")));
        }
    }

    /// What the scheduler and timers do for this action is done, whatever else they do.
    fn at_any_time(&mut self, role: Role) {
        let got = self.got.of(role, true);
        for (seen, want) in self.want.of(role, true) {
            if !ours(&seen) {
                continue;
            }
            self.count.anytime += 1;
            let counted = *self.count;
            let mut nearest: Option<Vec<String>> = None;
            for (_, got) in got.iter().filter(|(s, _)| *s == seen) {
                *self.count = counted;
                let differences = self.values(&seen, &want, got);
                if nearest.as_ref().is_none_or(|n| differences.len() < n.len()) {
                    nearest = Some(differences);
                }
            }
            match nearest {
                None => self.wrong.push(format!("  {role:?}, {seen}: was not come by")),
                Some(differences) => {
                    let differences =
                        differences.into_iter().map(|d| format!("  {role:?}, {seen}: nearest {d}"));
                    self.wrong.extend(differences);
                }
            }
        }
    }

    /// What differs of the values at one point.
    fn values(&mut self, seen: &Seen, want: &Told, got: &Told) -> Vec<String> {
        let Some(plan) = self.points.plan(want) else {
            self.count.untyped += 1;
            return Vec::new();
        };
        let (want, got) = (self.want.names.all(plan, want), self.got.names.all(plan, got));
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
