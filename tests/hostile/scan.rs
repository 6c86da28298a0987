//! The comparison without events.
