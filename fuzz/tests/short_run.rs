//! Every target with every file of its corpus, and with a fixed number of mutations of them: the same
//! in each run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy does not count helpers as tests"
)]

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::Path;
use std::{fs, iter};

use dynhost_fuzz::{TARGETS, Target};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Mutations of each target.
const MUTATIONS: u64 = 2000;

/// Longer inputs than this are cut: they take long, and say nothing new.
const MAX_OCTETS: usize = 2048;

#[test]
fn every_file_of_the_corpora_holds() {
    for (name, target) in TARGETS {
        for (file, octets) in corpus(name) {
            run(target, &octets, &format!("{name}/{file}"));
        }
    }
}

#[test]
fn mutations_of_the_corpora_hold() {
    let dictionary = dictionary();
    for (name, target) in TARGETS {
        let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, octets)| octets).collect();
        for seed in 0..MUTATIONS {
            let octets = Mutator(seed).mutation(&corpus, &dictionary);
            run(target, &octets, name);
        }
    }
}

#[test]
fn a_property_that_does_not_hold_is_told_with_its_input() {
    let told = catch_unwind(|| run(|octets| assert_ne!(octets, b"\xffx"), b"\xffx", "never"));
    let told = told.unwrap_err();
    let told = told.downcast_ref::<String>().unwrap();
    assert_eq!(told, "never does not hold for b\"\\xffx\"");
}

#[test]
fn each_target_has_a_program_and_a_corpus() {
    let names: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names.len(), TARGETS.len());
    assert_eq!(entries("corpus"), names);
    let programs = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(entries("fuzz_targets"), programs);
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    for name in names {
        let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&program), "{name}");
        let path = Path::new(ROOT).join(format!("fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(path).unwrap();
        assert!(
            program.contains(&format!("dynhost_fuzz::{name}(octets)")),
            "{name}"
        );
    }
}

fn run(target: Target, octets: &[u8], name: &str) {
    if catch_unwind(|| target(octets)).is_err() {
        panic!("{name} does not hold for b\"{}\"", octets.escape_ascii());
    }
}

fn entries(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// The files of a corpus with their names, in the order of these.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("corpus/{name}");
    let files = entries(&folder).into_iter().map(|file| {
        let octets = fs::read(Path::new(ROOT).join(&folder).join(&file)).unwrap();
        (file, octets)
    });
    let files: Vec<_> = files.collect();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

/// The tokens of libFuzzer's dictionary: a quoted string a line, with `\\`, `\"` and `\xNN`.
fn dictionary() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(Path::new(ROOT).join("dictionary.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let tokens: Vec<Vec<u8>> = lines.map(token).collect();
    assert!(tokens.contains(&b"\r\n\r\n\0\r\nQUIT\n".to_vec()));
    tokens
}

fn token(line: &str) -> Vec<u8> {
    let quoted = line
        .strip_prefix('"')
        .and_then(|line| line.strip_suffix('"'));
    let mut octets = quoted.unwrap_or_else(|| panic!("{line}")).bytes();
    let mut unescaped = || match octets.next()? {
        b'\\' => match octets.next().unwrap() {
            b'x' => {
                let digits = [octets.next().unwrap(), octets.next().unwrap()];
                let digits = str::from_utf8(&digits).unwrap();
                Some(u8::from_str_radix(digits, 16).unwrap())
            }
            octet => Some(octet),
        },
        octet => Some(octet),
    };
    iter::from_fn(&mut unescaped).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014), and what is made with it.
struct Mutator(u64);

impl Mutator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn one_of<'a>(&mut self, of: &'a [Vec<u8>]) -> &'a [u8] {
        &of[self.below(of.len())]
    }

    /// A part of these octets.
    fn part<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let begin = self.below(octets.len());
        let length = self.below(octets.len() - begin + 1).min(64);
        &octets[begin..begin + length]
    }

    fn mutation(mut self, corpus: &[Vec<u8>], dictionary: &[Vec<u8>]) -> Vec<u8> {
        let mut octets = self.one_of(corpus).to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(octets.len() + 1);
            match self.below(8) {
                // A token more, or instead of as many octets.
                0..=2 => {
                    let token = self.one_of(dictionary).to_vec();
                    octets.splice(at..at, token);
                }
                3 => {
                    let token = self.one_of(dictionary).to_vec();
                    let end = octets.len().min(at + token.len());
                    octets.splice(at..end, token);
                }
                // A part of another file, or of itself.
                4 => {
                    let other = self.one_of(corpus);
                    let part = self.part(other).to_vec();
                    octets.splice(at..at, part);
                }
                5 => {
                    let part = self.part(&octets).to_vec();
                    octets.splice(at..at, part);
                }
                6 => {
                    let end = octets.len().min(at + self.below(16));
                    octets.drain(at..end);
                }
                _ => {
                    if let Some(octet) = octets.get_mut(at) {
                        *octet ^= 1 << self.below(8);
                    }
                }
            }
        }
        octets.truncate(MAX_OCTETS);
        octets
    }
}
