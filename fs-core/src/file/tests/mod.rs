//! Tests of changing content.
