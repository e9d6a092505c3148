//! Blocks are decoded by `snap` after everything that is left open was filled in.

use proptest::prelude::*;

use super::*;

/// What stands in byte `at` of the text when holes, stamps and numbers are filled in by these rules.
fn filled(text: &[Symbol], at: usize) -> u8 {
    let symbol = text[at];
    match (symbol.kind(), symbol.number_byte()) {
        (STAMP, _) => stamp(symbol.0 as u8),
        (_, Some((of, byte))) => number(of)[usize::from(byte)],
        _ if symbol == Symbol::HOLE => hole(at),
        _ => symbol.0 as u8,
    }
}

fn hole(at: usize) -> u8 {
    (at * 37 % 251) as u8
}

fn stamp(index: u8) -> u8 {
    index.wrapping_mul(3)
}

fn number(of: u16) -> [u8; 2] {
    of.wrapping_mul(7919).to_le_bytes()
}

/// (start, length) of the runs of holes in `text`.
fn hole_runs(text: &[Symbol]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in text.iter().enumerate().filter(|(_, symbol)| **symbol == Symbol::HOLE) {
        match runs.last_mut() {
            Some((start, len)) if *start + *len == at => *len += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

/// Fills `block` and compares what a decoder makes of it with `text`. Gives the block's size.
fn check_block(text: &[Symbol], mut block: Block) -> usize {
    let runs = hole_runs(text);
    let lens = |runs: &[(usize, usize)]| runs.iter().map(|(_, len)| *len).collect::<Vec<_>>();
    assert_eq!(lens(&block.holes), lens(&runs), "every hole is in a literal, whole");
    for (&(start, len), (from, _)) in block.holes.iter().zip(runs) {
        (0..len).for_each(|i| block.elements[start + i] = hole(from + i));
    }
    block.stamps.iter().for_each(|&(at, index)| block.elements[at] = stamp(index));
    block.numbers.iter().for_each(|&(at, of)| block.elements[at..at + 2].copy_from_slice(&number(of)));
    let mut whole = Vec::new();
    super::super::wire::put_varint(&mut whole, text.len() as u64);
    whole.extend_from_slice(&block.elements);
    let decoded = snap::raw::Decoder::new().decompress_vec(&whole).unwrap();
    assert_eq!(decoded, (0..text.len()).map(|at| filled(text, at)).collect::<Vec<_>>());
    block.elements.len()
}

fn check(text: &[Symbol]) -> usize {
    check_block(text, compress(text))
}

fn symbols(text: &str) -> Vec<Symbol> {
    text.bytes().map(Symbol::byte).collect()
}

#[test]
fn text_that_repeats_shrinks_and_comes_back() {
    assert!(check(&symbols(&"node_cpu_seconds_total ".repeat(40))) < 100);
    assert_eq!(check(&[]), 0);
    check(&symbols("a"));
    check(&symbols(&"a".repeat(100)));
}

#[test]
fn literals_of_every_length_form_come_back() {
    for len in [59, 60, 61, 62, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
        // Stamps with a running index never repeat within four symbols at a distance below 256.
        let text: Vec<Symbol> = (0..len).map(|i| if i % 3 == 0 { Symbol::HOLE } else { Symbol::stamp((i % 251) as u8) }).collect();
        assert!(check(&text) >= len);
    }
}

#[test]
fn copies_of_every_length_and_distance_come_back() {
    for distance in [8, 100, 2047, 2048, 2049, 65_535, 65_536, 70_000] {
        for len in [4, 5, 11, 12, 63, 64, 65, 67, 68, 128, 129, 200] {
            let mut text: Vec<Symbol> = (0..len).map(|i| Symbol::stamp((i % 250) as u8)).collect();
            text.resize(distance.max(len), Symbol::HOLE);
            text.extend((0..len).map(|i| Symbol::stamp((i % 250) as u8)));
            check(&text);
        }
    }
}

#[test]
fn nothing_is_copied_from_a_hole_even_where_bytes_are_the_same() {
    let run = [Symbol::byte(1), Symbol::HOLE, Symbol::HOLE, Symbol::byte(2), Symbol::byte(3)];
    check(&run.repeat(50));
}

#[test]
fn numbers_are_copied_whole_and_only_where_they_are_the_same() {
    let series = |number: u16| [symbols("\x0a\x08"), Symbol::number(7).to_vec(), Symbol::number(number).to_vec(), symbols("end")].concat();
    let text: Vec<Symbol> = (0..200).flat_map(|i| series(100 + i / 2)).collect();
    assert!(check(&text) < text.len());
    let block = compress(&text);
    assert!(block.numbers.iter().filter(|(_, of)| *of == 7).count() < 10, "{:?}", block.numbers);
}

/// Texts as templates have them: runs of all kinds of symbols.
fn any_text() -> impl Strategy<Value = Vec<Symbol>> {
    prop::collection::vec((0_u16..7, 1_usize..40), 0..200).prop_map(|parts| {
        let run = |(kind, len): (u16, usize)| {
            let symbol = move |i: usize| match kind {
                0 => vec![Symbol::HOLE],
                1 => vec![Symbol::stamp((i % 6) as u8)],
                2 => vec![Symbol::byte((i * 7) as u8)],
                3 => vec![Symbol::byte(b'a' + (i % 3) as u8)],
                4 => vec![Symbol::byte(0)],
                5 => Symbol::number((i % 3) as u16).to_vec(),
                _ => vec![Symbol::byte(0xff)],
            };
            (0..len).flat_map(symbol).collect::<Vec<_>>()
        };
        parts.into_iter().flat_map(run).collect()
    })
}

/// What `open` is told of places of `text` (apart from each other), and the text with them open.
fn opened(text: &[Symbol], places: &[(usize, usize)]) -> (Vec<Opened>, Vec<Symbol>) {
    let (mut all, mut after, mut free_from) = (Vec::new(), text.to_vec(), 0);
    let mut places = places.to_vec();
    places.sort_unstable();
    for (start, len) in places {
        let range = start..start + len;
        let plain = text.get(range.clone()).is_some_and(|symbols| symbols.iter().all(|symbol| symbol.kind() == 0));
        if plain && start >= free_from {
            let mut bytes = [0; 8];
            text[range.clone()].iter().zip(&mut bytes).for_each(|(symbol, byte)| *byte = symbol.0 as u8);
            after[range.clone()].fill(Symbol::HOLE);
            free_from = range.end;
            all.push(Opened { range, bytes });
        }
    }
    (all, after)
}

#[test]
fn a_byte_that_is_opened_is_no_more_copied_from_or_to() {
    let text = symbols(&"value 12345678 stamp ".repeat(30));
    for row in [0, 1, 17, 29] {
        let (all, after) = opened(&text, &[(21 * row + 6, 8)]);
        assert_eq!(all.len(), 1);
        let size = check_block(&after, open(&compress(&text), &all));
        assert!(size < 120, "row {row}: {size} bytes");
    }
}

#[test]
fn opening_nothing_changes_nothing() {
    let block = compress(&symbols(&"value 12345678 stamp ".repeat(30)));
    assert_eq!(open(&block, &[]), block);
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any_text()) {
        check(&text);
    }

    #[test]
    fn any_bytes_can_be_opened_one_after_the_other(
        text in any_text(),
        first in prop::collection::vec((0_usize..4000, 1_usize..9), 0..12),
        second in prop::collection::vec((0_usize..4000, 1_usize..9), 0..12),
    ) {
        let (all, once) = opened(&text, &first);
        let block = open(&compress(&text), &all);
        check_block(&once, block.clone());
        let (all, twice) = opened(&once, &second);
        check_block(&twice, open(&block, &all));
    }
}
