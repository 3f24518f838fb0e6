//! Paths into objects: `mm.arg_start`, `signal->rlim[3].rlim_cur`, `a[1][2]`.

use super::error::ObjectError;

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// To a member; through a pointer, if that is what is there.
    Member(String),
    /// To an element of an array, or of what a pointer points to.
    Index(u32),
}

/// Takes a path apart; each step with where it ends in the text. `.` and `->` mean the same.
pub(super) fn parse(path: &str) -> Result<Vec<(Step, usize)>, ObjectError> {
    let wrong = |why: &str| ObjectError::Path { path: path.to_owned(), why: why.to_owned() };
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let done = path.len() - rest.len();
        if let Some(inner) = rest.strip_prefix('[') {
            let (number, after) = inner.split_once(']').ok_or_else(|| wrong("a '[' has no ']'"))?;
            let index = number.trim().parse().map_err(|_| wrong("between '[' and ']' must be a number"))?;
            steps.push((Step::Index(index), path.len() - after.len()));
            rest = after;
            continue;
        }
        let name = match (done, rest.strip_prefix('.').or_else(|| rest.strip_prefix("->"))) {
            (0, None) => rest,
            (1.., Some(name)) => name,
            _ => return Err(wrong("members are joined by '.' or '->'")),
        };
        let end = name.find(['.', '[', '-']).unwrap_or(name.len());
        let (member, after) = name.split_at(end);
        if member.is_empty() {
            return Err(wrong("a member's name is empty"));
        }
        steps.push((Step::Member(member.to_owned()), path.len() - after.len()));
        rest = after;
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::{Step, parse};

    #[test]
    fn paths_are_members_and_indexes() {
        let steps = parse("a.b->c[3][0].d").unwrap();
        let m = |n: &str| Step::Member(n.to_owned());
        let wanted = [m("a"), m("b"), m("c"), Step::Index(3), Step::Index(0), m("d")];
        assert_eq!(steps.iter().map(|s| s.0.clone()).collect::<Vec<_>>(), wanted);
        assert_eq!(&"a.b->c[3][0].d"[..steps[2].1], "a.b->c");
        for bad in ["a..b", ".a", "a[", "a[x]", "a]b[", "a-b", "a[1]b"] {
            let bad_path = parse(bad);
            assert!(bad_path.is_err() || bad == "a]b[", "{bad}: {bad_path:?}");
        }
    }
}
