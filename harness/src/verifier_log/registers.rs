//! What the verifier knows about registers and stack slots.

/// A register or stack slot.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Register {
    /// `R0` to `R10`, or a stack slot such as `fp-8`.
    pub name: String,
    /// What the verifier knows, such as `scalar(umax=255)` or `map_value(map=counts,ks=4,vs=8)`.
    pub value: String,
}

/// Registers of the function that is walked, by name, in the order in which the log has them.
#[derive(Clone, Default, Debug)]
pub(super) struct Registers {
    known: Vec<Register>,
}

impl Registers {
    /// All of them anew.
    pub(super) fn replace(&mut self, state: &str) {
        self.known.clear();
        self.update(state);
    }

    /// Those that changed.
    pub(super) fn update(&mut self, state: &str) {
        for (name, value) in entries(state) {
            match self.known.iter_mut().find(|r| r.name == name) {
                Some(known) => value.clone_into(&mut known.value),
                None => self.known.push(Register { name: name.to_owned(), value: value.to_owned() }),
            }
        }
    }

    pub(super) fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.known.retain(|r| !which(&r.name));
    }

    /// Registers by number, then slots from the frame pointer down.
    pub(super) fn sorted(mut self) -> Vec<Register> {
        let rank = |name: &str| {
            let number = |s: &str| s.parse::<u32>().unwrap_or(u32::MAX);
            match name.strip_prefix('R') {
                Some(n) => (0, number(n)),
                None => (1, number(name.trim_start_matches("fp-"))),
            }
        };
        self.known.sort_by_key(|r| rank(&r.name));
        self.known
    }
}

/// The parts `R1_w=map_value(id=0, ..)` of a state. Values may hold spaces and signs in parentheses.
fn entries(state: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = state;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return None;
            }
            let mut depth = 0i32;
            let end = rest.char_indices().find(|(_, c)| {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                c.is_whitespace() && depth <= 0
            });
            let (entry, after) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
            rest = after;
            let Some((name, value)) = entry.split_once('=') else { continue };
            // How it is alive (`R1_w`, `fp-8_rw`) matters to the verifier alone.
            let name = name.split_once('_').map_or(name, |(name, _)| name);
            let number = name.strip_prefix('R').or(name.strip_prefix("fp-"));
            if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
                return Some((name, value));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::entries;

    #[test]
    fn states_of_all_kernels_are_taken_apart() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("R1=ctx(id=0,off=0,imm=0) R10=fp0", &[("R1", "ctx(id=0,off=0,imm=0)"), ("R10", "fp0")]),
            (
                "frame1: R1_w=inv(id=0,umax_value=255,var_off=(0x0; 0xff)) fp-8_w=mmmm???? refs=2 cb",
                &[("R1", "inv(id=0,umax_value=255,var_off=(0x0; 0xff))"), ("fp-8", "mmmm????")],
            ),
            ("", &[]),
            ("= R= Rx=1 R1 (", &[]),
        ];
        for (state, expected) in cases {
            assert_eq!(entries(state).collect::<Vec<_>>(), *expected, "{state}");
        }
    }
}
