//! Who is asking: passwords, sessions and their cookies, connection tokens, and what is refused before anyone asks.

mod attempts;
mod cookie;
mod cross_site;
mod internal_key;
mod password;
mod session;
mod token;

pub use cookie::Seat;
pub use session::CurrentUser;

pub(crate) use attempts::Attempts;
pub(crate) use cross_site::refuse_cross_site;
pub(crate) use internal_key::require_internal_key;
pub(crate) use password::Passwords;
pub(crate) use session::Sessions;
pub(crate) use token::sign;
