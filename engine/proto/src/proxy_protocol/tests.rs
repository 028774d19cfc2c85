mod reader;
mod receiving;
mod telling;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Numbers that look random and are the same in every run (xorshift).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn address(&mut self) -> SocketAddr {
        let port = self.below(65_536) as u16;
        let v4 = Ipv4Addr::from_bits(self.below(1 << 32) as u32);
        match self.below(3) {
            0 => SocketAddr::V4(SocketAddrV4::new(v4, port)),
            1 => SocketAddr::V6(SocketAddrV6::new(v4.to_ipv6_mapped(), port, 0, 0)),
            _ => {
                let bits =
                    u128::from(self.below(u64::MAX)) << 64 | u128::from(self.below(u64::MAX));
                SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from_bits(bits), port, 1, 2))
            }
        }
    }
}
