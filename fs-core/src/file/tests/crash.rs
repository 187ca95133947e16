//! The power is cut while content is changed.
