//! Answers, as fast as they can be told apart.

use anyhow::{Context as _, Result};

/// The answer of a server that writes header names in lower case and always a length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    /// Octets of head and body.
    pub(super) length: usize,
}

impl<'a> Answer<'a> {
    /// The answer that these octets begin with, once it is whole.
    pub(super) fn read(octets: &'a [u8]) -> Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        const LENGTH: &[u8] = b"\r\ncontent-length: ";
        let Some(end) = find(octets, END) else {
            return Ok(None);
        };
        let (head, rest) = (&octets[..end], &octets[end + END.len()..]);
        let status = head.get(9..12).context("no status")?;
        let length = find(head, LENGTH).context("no length")?;
        let body = rest.get(..number(&head[length + LENGTH.len()..]));
        Ok(body.map(|body| Self {
            status: u16::try_from(number(status)).unwrap_or_default(),
            body,
            length: end + END.len() + body.len(),
        }))
    }
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn number(octets: &[u8]) -> usize {
    octets
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .fold(0, |number, octet| number * 10 + usize::from(octet - b'0'))
}
