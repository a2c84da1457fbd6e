//! A bounded run of the worlds of client hellos.

#[test]
fn every_name_is_served_by_its_chain_in_300_worlds() {
    for seed in 0..300 {
        if let Err(why) = weir_sim::chains::run(seed) {
            panic!("seed {seed}: {why}");
        }
    }
}
