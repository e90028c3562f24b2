//! Who is let in, and what a peer that keeps no rules can do.

mod certificates;
mod hostile;
mod mutual_tls;
mod permissions;
mod tokens;
