//! Addresses as C sees them.

use crate::result::{Fault, weir_result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP address and a port.
#[repr(C)]
#[derive(Copy, Clone, Debug, Default)]
pub struct weir_address {
    /// 4 for IPv4, 6 for IPv6.
    pub family: u16,
    /// In the order of the host, not of the network.
    pub port: u16,
    /// In the order of the network; IPv4 has the first four.
    pub ip: [u8; 16],
}

impl weir_address {
    /// The address as C sees it.
    pub fn of(address: SocketAddr) -> weir_address {
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&ip.octets());
                (4, bytes)
            }
            IpAddr::V6(ip) => (6, ip.octets()),
        };
        weir_address { family, port: address.port(), ip }
    }

    /// The IP address, of an argument called `what`.
    ///
    /// # Errors
    /// If it is of no family.
    pub fn ip(&self, what: &str) -> Result<IpAddr, Fault> {
        let [a, b, c, d, ..] = self.ip;
        match self.family {
            4 => Ok(Ipv4Addr::new(a, b, c, d).into()),
            6 => Ok(Ipv6Addr::from(self.ip).into()),
            other => Err(Fault::new(
                weir_result::WEIR_BAD_VALUE,
                format_args!("`{what}`: the family is {other}; it is 4 for IPv4 or 6 for IPv6"),
            )),
        }
    }

    /// IP address and port, as [`Self::ip`].
    ///
    /// # Errors
    /// As there.
    pub fn socket(&self, what: &str) -> Result<SocketAddr, Fault> {
        Ok(SocketAddr::new(self.ip(what)?, self.port))
    }
}
