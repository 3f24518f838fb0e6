//! Laws of the framing: what is written is what is read, whatever the pieces it arrives in; anything else is an error.

use std::io::{self, Read};

use proptest::prelude::*;

use super::protocol::{Command, FilePiece, FromGuest, Gathering, Input, MAX_PAYLOAD, ToGuest, pieces};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn piece() -> impl Strategy<Value = FilePiece> {
    (bytes(), any::<u32>(), any::<u64>(), bytes()).prop_map(|(path, mode, offset, data)| FilePiece {
        path,
        mode,
        offset,
        data,
    })
}

fn command() -> impl Strategy<Value = Command> {
    let pairs = prop::collection::vec((bytes(), bytes()), 0..5);
    let input = prop_oneof![
        Just(Input::Null),
        Just(Input::Pipe),
        any::<(u16, u16)>().prop_map(|(rows, columns)| Input::Terminal(rows, columns)),
    ];
    (prop::collection::vec(bytes(), 0..5), pairs, bytes(), any::<u64>(), input, any::<bool>()).prop_map(
        |(argv, env, cwd, lifetime_secs, input, service)| Command {
            argv,
            env,
            cwd,
            lifetime_secs,
            input,
            service,
        },
    )
}

fn to_guest() -> impl Strategy<Value = ToGuest> {
    prop_oneof![
        (any::<u64>(), any::<u32>()).prop_map(|(secs, nanos)| ToGuest::Time(secs, nanos)),
        piece().prop_map(ToGuest::File),
        command().prop_map(ToGuest::Run),
        any::<u32>().prop_map(ToGuest::Signal),
        (any::<u64>(), any::<u32>(), bytes())
            .prop_map(|(secs, nanos, seed)| ToGuest::Resume(secs, nanos, seed)),
        Just(ToGuest::Sync),
        (any::<u32>(), any::<bool>(), bytes()).prop_map(|(id, last, data)| ToGuest::Answer(id, last, data)),
        bytes().prop_map(ToGuest::Stdin),
        any::<(u16, u16)>().prop_map(|(rows, columns)| ToGuest::Resize(rows, columns)),
        any::<u32>().prop_map(ToGuest::Close),
    ]
}

fn from_guest() -> impl Strategy<Value = FromGuest> {
    prop_oneof![
        (any::<u32>(), bytes()).prop_map(|(version, release)| FromGuest::Hello(version, release)),
        bytes().prop_map(FromGuest::Stdout),
        bytes().prop_map(FromGuest::Stderr),
        bytes().prop_map(FromGuest::Note),
        (bytes(), bytes()).prop_map(|(name, reason)| FromGuest::Unloaded(name, reason)),
        (any::<u32>(), bytes()).prop_map(|(errno, text)| FromGuest::StartFailed(errno, text)),
        any::<u32>().prop_map(FromGuest::Exit),
        piece().prop_map(FromGuest::Result),
        Just(FromGuest::Done),
        Just(FromGuest::Synced),
        Just(FromGuest::Taken),
        (any::<u32>(), any::<bool>(), bytes()).prop_map(|(id, last, data)| FromGuest::Ask(id, last, data)),
    ]
}

/// Gives at most so many bytes at a time, as sockets and serial lines do.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(to.len());
        self.0.read(&mut to[..count])
    }
}

proptest! {
    #[test]
    fn the_guest_reads_what_the_host_wrote(messages in prop::collection::vec(to_guest(), 0..5), step in 1usize..40) {
        let mut stream = Vec::new();
        for message in &messages {
            message.write(&mut stream)?;
        }
        let mut from = Drip(&stream, step);
        for message in messages {
            prop_assert_eq!(ToGuest::read(&mut from)?, Some(message));
        }
        prop_assert_eq!(ToGuest::read(&mut from)?, None);
    }

    #[test]
    fn the_host_reads_what_the_guest_wrote(messages in prop::collection::vec(from_guest(), 0..5), step in 1usize..40) {
        let mut stream = Vec::new();
        for message in &messages {
            message.write(&mut stream)?;
        }
        let mut from = Drip(&stream, step);
        for message in messages {
            prop_assert_eq!(FromGuest::read(&mut from)?, Some(message));
        }
        prop_assert_eq!(FromGuest::read(&mut from)?, None);
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_an_error(message in from_guest(), cut in any::<prop::sample::Index>()) {
        let mut stream = Vec::new();
        message.write(&mut stream)?;
        let cut = 1 + cut.index(stream.len() - 1);
        if cut < stream.len() {
            prop_assert!(FromGuest::read(&mut &stream[..cut]).is_err());
        }
    }

    #[test]
    fn a_frame_with_more_or_less_than_its_kind_needs_is_an_error(message in from_guest(), extra in 1u8..9) {
        let mut stream = Vec::new();
        message.write(&mut stream)?;
        let length = u32::from_le_bytes(stream[1..5].try_into()?) + u32::from(extra);
        stream[1..5].copy_from_slice(&length.to_le_bytes());
        stream.extend(vec![0; usize::from(extra)]);
        prop_assert!(FromGuest::read(&mut stream.as_slice()).is_err());
    }

    #[test]
    fn no_bytes_make_the_host_panic_or_allocate_without_bound(noise in bytes()) {
        let _ = FromGuest::read(&mut noise.as_slice());
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_at_once() {
    let mut stream = vec![2];
    stream.extend(u32::MAX.to_le_bytes());
    let error = FromGuest::read(&mut stream.as_slice()).expect_err("it is too long");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let long = FromGuest::Stdout(vec![0; MAX_PAYLOAD]);
    assert!(long.write(&mut Vec::new()).is_err());
}

#[test]
fn requests_in_pieces_are_put_together_by_their_numbers() {
    let long = vec![7; (3 << 20) + 1];
    let mut gathering = Gathering::default();
    let mut whole = Vec::new();
    let both = pieces(&long).map(|piece| (1, piece)).chain(pieces(b"").map(|piece| (2, piece)));
    let mut both: Vec<_> = both.collect();
    // The short one arrives between the pieces of the long one.
    let short = both.pop().expect("a piece of nothing");
    both.insert(2, short);
    for (id, (last, data)) in both {
        whole.extend(gathering.take(id, last, data.to_vec()).expect("within the limit").map(|all| (id, all)));
    }
    assert_eq!(whole, [(2, Vec::new()), (1, long)]);
}

#[test]
fn a_request_without_an_end_is_refused() {
    let mut gathering = Gathering::default();
    let refused = (0..100).any(|_| gathering.take(1, false, vec![0; 1 << 20]).is_err());
    assert!(refused);
}
