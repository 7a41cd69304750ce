//! Bytes from outside: what a stranger, a broken disk or a newer program may send where something is decoded. Used by the properties of
//! every decoder, `decoders` in each crate; `make fuzz` runs them for longer.

use proptest::prelude::*;
use proptest::sample::Index;

/// What a decoder may tell of what it refused, in characters.
pub const LONGEST_WORD: usize = 600;

/// What breaks decoders more often than chance does.
const WORDS: [&[u8]; 20] = [
    b"\"",
    b"{",
    b"[",
    b"}",
    b":",
    b"\n",
    b"\0",
    b"\x1b[31m",
    b"\xff",
    b"\xe2\x80\xae",
    b"e\xcc\x81",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"-1",
    b"1e400",
    b"18446744073709551616",
    b"9007199254740992",
    b"&a *a",
    b"!!binary ",
];

#[derive(Debug, Clone)]
enum Edit {
    Cut(Index, Index),
    Put(Index, Vec<u8>),
    Repeat(Index, usize),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Self::Cut(from, to) => {
                let (one, two) = (at(from, bytes), at(to, bytes));
                bytes.drain(one.min(two)..one.max(two));
            }
            Self::Put(place, word) => {
                let place = at(place, bytes);
                bytes.splice(place..place, word.iter().copied());
            }
            Self::Repeat(place, times) => {
                let place = at(place, bytes);
                if let Some(byte) = bytes.get(place).copied() {
                    bytes.splice(place..place, std::iter::repeat_n(byte, *times));
                }
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        proptest::sample::select(WORDS.to_vec()).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 1..8),
    ];
    prop_oneof![
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Cut(from, to)),
        (any::<Index>(), word).prop_map(|(place, word)| Edit::Put(place, word)),
        (any::<Index>(), 1..3_000_usize).prop_map(|(place, times)| Edit::Repeat(place, times)),
    ]
}

/// One of `examples` with some things wrong, or any bytes.
pub fn mangled(examples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edited =
        (proptest::sample::select(examples), proptest::collection::vec(edit(), 0..5)).prop_map(|(mut bytes, edits)| {
            for edit in edits {
                edit.apply(&mut bytes);
            }
            bytes
        });
    prop_oneof![4 => edited, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

/// That a refusal can be shown to people: short, on one line, with nothing that a terminal obeys.
pub fn is_a_sentence(text: &str) -> bool {
    let length = text.chars().count();
    (1..=LONGEST_WORD).contains(&length) && !text.chars().any(char::is_control)
}
