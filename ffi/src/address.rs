//! Addresses, and those of the system.

pub use weir_abi::address::weir_address;

use crate::memory;
use crate::result::{Fault, enter, weir_result};
use libc::{sockaddr, sockaddr_in, sockaddr_in6};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::raw::c_void;
use std::ptr;

/// An address as the system has it.
enum Native {
    V4(sockaddr_in),
    V6(sockaddr_in6),
}

impl Native {
    fn of(address: SocketAddr) -> Native {
        match address {
            SocketAddr::V4(address) => {
                // SAFETY: a plain struct, of which zero is a value.
                let mut made: sockaddr_in = unsafe { zeroed() };
                made.sin_family = libc::AF_INET as _;
                made.sin_port = address.port().to_be();
                made.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                Native::V4(made)
            }
            SocketAddr::V6(address) => {
                // SAFETY: as above.
                let mut made: sockaddr_in6 = unsafe { zeroed() };
                made.sin6_family = libc::AF_INET6 as _;
                made.sin6_port = address.port().to_be();
                made.sin6_addr.s6_addr = address.ip().octets();
                Native::V6(made)
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<SocketAddr> {
        // SAFETY: there are enough bytes for each struct that is read, and any bytes are one.
        unsafe {
            let family = (bytes.len() >= size_of::<sockaddr>()).then(|| bytes.as_ptr().cast::<sockaddr>().read_unaligned().sa_family)?;
            match i32::from(family) {
                libc::AF_INET if bytes.len() >= size_of::<sockaddr_in>() => {
                    let from = bytes.as_ptr().cast::<sockaddr_in>().read_unaligned();
                    let ip = Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddr::new(ip.into(), u16::from_be(from.sin_port)))
                }
                libc::AF_INET6 if bytes.len() >= size_of::<sockaddr_in6>() => {
                    let from = bytes.as_ptr().cast::<sockaddr_in6>().read_unaligned();
                    let ip = Ipv6Addr::from(from.sin6_addr.s6_addr);
                    Some(SocketAddr::new(ip.into(), u16::from_be(from.sin6_port)))
                }
                _ => None,
            }
        }
    }

    fn bytes(&self) -> (*const u8, usize) {
        match self {
            Native::V4(address) => ((&raw const *address).cast(), size_of::<sockaddr_in>()),
            Native::V6(address) => ((&raw const *address).cast(), size_of::<sockaddr_in6>()),
        }
    }
}

/// Reads a `struct sockaddr` of the system's, `len` bytes long, as `accept` and `getaddrinfo` give them. `WEIR_BAD_VALUE` if it
/// is none of IPv4 or IPv6.
///
/// Any thread.
///
/// # Safety
/// `sockaddr` must have `len` bytes, and `out` be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_address_of(sockaddr: *const c_void, len: usize, out: *mut weir_address) -> weir_result {
    enter(|| {
        if sockaddr.is_null() {
            return Err(Fault::null("sockaddr"));
        }
        // SAFETY: the caller answers for it.
        let bytes = unsafe { memory::slice(sockaddr.cast::<u8>(), len, "sockaddr")? };
        let read = Native::read(bytes);
        let socket = read.ok_or_else(|| Fault::new(weir_result::WEIR_BAD_VALUE, "`sockaddr` is no address of IPv4 or IPv6"))?;
        // SAFETY: the caller gives a place to write to.
        unsafe { memory::put(out, weir_address::of(socket), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Writes an address as a `struct sockaddr` of the system's, for `bind` and `connect`. `len` has how many bytes of room there are
/// (a `struct sockaddr_storage` is enough for any), and gets how many are used; also with `WEIR_TOO_SMALL`.
///
/// Any thread.
///
/// # Safety
/// `address` must be valid for reading, `len` for reading and writing, or NULL; `sockaddr` must have `*len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_address_to(address: *const weir_address, sockaddr: *mut c_void, len: *mut usize) -> weir_result {
    enter(|| {
        // SAFETY: the caller gives an address.
        let [address] = (unsafe { memory::slice(address, 1, "address")? }) else { return Err(Fault::null("address")) };
        let made = Native::of(address.socket("address")?);
        let (from, count) = made.bytes();
        memory::check_out(len, "len")?;
        memory::check_out(sockaddr.cast::<u8>(), "sockaddr")?;
        // SAFETY: the caller's `len` can be read and written, and `sockaddr` has as many bytes.
        unsafe {
            let room = len.replace(count);
            if room < count {
                let words = format_args!("`sockaddr` has {room} bytes of room; this address needs {count}");
                return Err(Fault::new(weir_result::WEIR_TOO_SMALL, words));
            }
            ptr::copy_nonoverlapping(from, sockaddr.cast::<u8>(), count);
        }
        Ok(weir_result::WEIR_OK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_cross_the_border_both_ways() {
        for text in ["127.0.0.1:80", "[2001:db8::7]:65535", "0.0.0.0:0"] {
            let address = weir_address::of(text.parse().expect("an address"));
            let mut bytes = [0u8; 128];
            let (mut len, mut back) = (bytes.len(), weir_address::default());
            // SAFETY: all of it is as large as it says.
            unsafe {
                assert_eq!(weir_address_to(&raw const address, bytes.as_mut_ptr().cast(), &raw mut len), weir_result::WEIR_OK);
                assert_eq!(weir_address_of(bytes.as_ptr().cast(), len, &raw mut back), weir_result::WEIR_OK);
                assert_eq!(back.socket("it").expect("an address").to_string(), text);
                assert_eq!(weir_address_of(bytes.as_ptr().cast(), len - 1, &raw mut back), weir_result::WEIR_BAD_VALUE);
                let mut short = len - 1;
                assert_eq!(weir_address_to(&raw const address, bytes.as_mut_ptr().cast(), &raw mut short), weir_result::WEIR_TOO_SMALL);
                assert_eq!(short, len);
            }
        }
        let unix = [1u8; 110];
        let mut back = weir_address::default();
        // SAFETY: as above.
        let result = unsafe { weir_address_of(unix.as_ptr().cast(), unix.len(), &raw mut back) };
        assert_eq!(result, weir_result::WEIR_BAD_VALUE);
    }
}
