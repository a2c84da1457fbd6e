//! Generational ids: a number that names one thing and never, later, another.
//!
//! An id is a slot and a generation, so a late event for a closed connection finds nothing instead of the
//! connection that took its place. As `u64`s they cross C untouched.

use slotmap::{Key, KeyData};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        slotmap::new_key_type! { $(#[$doc])* pub struct $name; }

        impl $name {
            /// The id as a plain number.
            pub fn to_u64(self) -> u64 {
                self.data().as_ffi()
            }

            /// The id that [`Self::to_u64`] gave. A made-up number names nothing.
            pub fn from_u64(number: u64) -> $name {
                KeyData::from_ffi(number).into()
            }
        }
    };
}

id!(
    /// One downstream or upstream connection.
    ConnId
);
id!(
    /// One listener, kept over config updates that keep its name.
    ListenerId
);
id!(
    /// One exchange: a downstream request and all that becomes of it.
    ExchangeId
);
id!(
    /// One cluster, kept over config updates that keep its name.
    ClusterId
);
id!(
    /// One upstream host of a cluster.
    HostId
);
id!(
    /// One DNS query that the driver was asked to make.
    QueryId
);

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn an_old_id_does_not_name_the_next_tenant() {
        let mut map = SlotMap::<ConnId, u8>::with_key();
        let first = map.insert(1);
        map.remove(first);
        let second = map.insert(2);
        assert_ne!(first, second);
        assert_eq!(map.get(first), None);
        assert_eq!(ConnId::from_u64(second.to_u64()), second);
    }
}
