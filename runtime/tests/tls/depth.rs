//! `max_verify_depth`.

use crate::pki::{Ca, ask, connect, echo_upstream};
use crate::support::Proxy;
use crate::{TO_U, bootstrap, chain, common, own, wait_for_stat};

#[test]
fn chains_are_as_long_as_they_may_be() {
    let root = Ca::new("root");
    let middle = root.below("middle");
    let (server, direct, below) =
        (root.leaf("server", &["a.example"]), root.leaf("direct", &["c.example"]), middle.leaf("below", &["d.example"]));
    for (depth, takes_direct, takes_below) in [
        ("", true, true),
        (", max_verify_depth: 2", true, true),
        (", max_verify_depth: 1", true, false),
        (", max_verify_depth: 0", false, false),
    ] {
        let validation = format!("validation_context: {{ trusted_ca: {{ filename: {} }}{depth} }}", root.file());
        let tls = format!("{}, require_client_certificate: true", common(&format!("{}, {validation}", own(&[&server]))));
        let proxy = Proxy::start(&bootstrap("", &[chain(&tls, "", TO_U, "")], echo_upstream(), ""));
        let mut refused = 0;
        for (client, taken) in [(root.client_of(&direct, &[]), takes_direct), (root.client_of(&below, &[&middle]), takes_below)] {
            let answer = connect(&client, "a.example", proxy.address).and_then(|mut stream| ask(&mut stream, "a.example"));
            assert_eq!(answer.is_ok(), taken, "{depth}: {answer:?}");
            refused += u64::from(!taken);
        }
        wait_for_stat(&proxy, "ssl.fail_verify_error", refused);
    }
}
