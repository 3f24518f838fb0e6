//! Paths to what is replaced, as `insta` writes its selectors.

/// One step into a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Member(String),
    Index(usize),
}

/// A step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wanted {
    Member(String),
    AnyMember,
    Index(usize),
    AnyIndex,
    /// Any number of steps.
    Deep,
}

/// Where a rule applies.
#[derive(Clone, Debug)]
pub(super) struct Path {
    wanted: Vec<Wanted>,
}

impl Path {
    /// Reads `.key.pid`, `[].value[0]`, `.**.ts`. What is neither is taken for a member's name.
    pub(super) fn parse(text: &str) -> Self {
        let mut wanted = Vec::new();
        for part in text.split('.') {
            let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            match name {
                "" => {}
                "**" => wanted.push(Wanted::Deep),
                "*" => wanted.push(Wanted::AnyMember),
                name => wanted.push(Wanted::Member(name.to_owned())),
            }
            while let Some((index, more)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
                wanted.push(index.parse().map_or(Wanted::AnyIndex, Wanted::Index));
                rest = more;
            }
        }
        Self { wanted }
    }

    /// Whether it leads to a place; the list that a table or several records are may be left out.
    pub(super) fn leads_to(&self, place: &[Step]) -> bool {
        let inner = match place {
            [Step::Index(_), inner @ ..] => Some(inner),
            _ => None,
        };
        leads(&self.wanted, place) || inner.is_some_and(|p| leads(&self.wanted, p))
    }
}

fn leads(wanted: &[Wanted], place: &[Step]) -> bool {
    match (wanted, place) {
        ([], []) => true,
        ([Wanted::Deep, rest @ ..], _) => {
            (0..=place.len()).any(|n| leads(rest, place.get(n..).unwrap_or(&[])))
        }
        ([first, wanted @ ..], [step, place @ ..]) => {
            let fits = match (first, step) {
                (Wanted::Member(a), Step::Member(b)) => a == b,
                (Wanted::AnyMember, Step::Member(_)) | (Wanted::AnyIndex, Step::Index(_)) => true,
                (Wanted::Index(a), Step::Index(b)) => a == b,
                _ => false,
            };
            fits && leads(wanted, place)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, Step};

    #[test]
    fn paths_lead_where_they_say() {
        let m = |n: &str| Step::Member(n.to_owned());
        let place = [Step::Index(2), m("key"), m("ids"), Step::Index(1)];
        for (path, expected) in [
            ("[].key.ids[1]", true),
            ("[2].key.ids[]", true),
            (".key.ids[1]", true),
            (".key.*[1]", true),
            (".**.ids[1]", true),
            (".**", true),
            (".key.ids", false),
            ("[1].key.ids[1]", false),
            (".key.ids[0]", false),
            (".ids[1]", false),
        ] {
            assert_eq!(Path::parse(path).leads_to(&place), expected, "{path}");
        }
        assert!(Path::parse(".").leads_to(&[]) && !Path::parse(".key").leads_to(&[]));
    }
}
