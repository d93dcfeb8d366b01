//! Free loopback ports.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Result, bail};

/// Below Linux's ephemeral range (32768 and up): a server that is stopped and started again must
/// find its port free, and an outgoing connection could have taken an ephemeral one meanwhile.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static OFFSET: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nothing uses by TCP or UDP, and that this process has not given out.
///
/// # Errors
/// Where every port of the range is taken.
pub fn free_port() -> Result<u16> {
    // Test processes that run beside each other start at different places.
    let start = (process::id() % u32::from(COUNT)) * 97 % u32::from(COUNT);
    for _ in 0..COUNT {
        let offset = u32::from(OFFSET.fetch_add(1, Ordering::Relaxed));
        let port = u32::from(FIRST) + (start + offset) % u32::from(COUNT);
        if let Ok(port) = u16::try_from(port)
            && is_free(port)
        {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 from {FIRST} on");
}

fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}
