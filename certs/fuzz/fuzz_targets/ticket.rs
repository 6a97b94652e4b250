#![no_main]

use homing_certs::Ticket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(ticket) = Ticket::decode(text) {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        assert_eq!(ticket.encode(), compact.to_ascii_lowercase());
    }
});
