//! The rules a server can break, each with the section that states it.

/// Defines [`Rule`] and its sections in one table.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $section:literal,)*) => {
        /// What a server did that it must not do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        impl Rule {
            /// Where the protocol's document states the rule.
            #[must_use]
            pub fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)* }
            }
        }
    };
}

rules! {
    /// The INIT reply: minor, flags or length.
    InitReply = "1.3",
    /// CONFIG failed, with an error other than ENOSYS.
    ConfigFailed = "1.5",
    /// CONFIG reply: longer than 104 bytes.
    ConfigLength = "1.7, 9 no. 6",
    /// CONFIG reply: a flag nobody knows.
    ConfigFlags = "1.7, 9 no. 6",
    /// CONFIG reply: UUID longer than 16.
    ConfigUuid = "1.7, 9 no. 6",
    /// CONFIG reply: padding that is not zero.
    ConfigPad = "1.7, 9 no. 6",
    /// CONFIG reply: not a block size.
    ConfigBlockSize = "1.7, 9 no. 6",
    /// CONFIG reply: time granularity of 0 or above a second.
    ConfigTime = "1.7, 9 no. 6",
    /// CONFIG reply: a largest file that cannot be.
    ConfigMaxbytes = "1.7, 9 no. 6",
    /// IOMAP without EXCLUSIVE, or with a reply minor below 99.
    IomapNotExclusive = "3.3, 9 no. 1",
    /// Attribute flags that changed.
    AttrFlagsChanged = "3.2, 9 no. 2",
    /// `attr.ino` changed.
    AttrInoChanged = "3.3, 9 no. 2",
    /// The reply to a SETATTR with a size has another size.
    SetattrSize = "3.4, 9 no. 3",
    /// An open flag that iomap inodes refuse.
    OpenFlags = "3.3, 9 no. 4",
    /// A regular file without IOMAP on an iomap mount.
    NotIomap = "3.3, 9 no. 5",
    /// A mapping of a type nobody knows.
    MappingType = "4.5 rule 1, 9 no. 7",
    /// RETRY_CACHE before any upsert for the inode.
    RetryWithoutCache = "4.5 rule 2, 9 no. 13",
    /// A special mapping with flags, device or address.
    SpecialFields = "4.5 rules 2, 3, 7, 9 no. 9",
    /// A mapping with flag bits above 7.
    MappingFlags = "4.5 rule 4, 9 no. 7",
    /// ANON_WRITE.
    AnonWrite = "4.2, 9 no. 7",
    /// A mapping of no length.
    MappingLength = "4.5 rule 5, 9 no. 8",
    /// A mapping that is not block aligned.
    MappingAlignment = "4.5 rule 5, 9 no. 8",
    /// offset + length overflows.
    MappingOverflow = "4.5 rule 5, 9 no. 8",
    /// A mapping that starts at or behind the largest file's end.
    MappingBeyondMaxbytes = "4.5 rule 5, 9 no. 8",
    /// MAPPED or UNWRITTEN without a device.
    DeviceMissing = "4.5 rule 6, 9 no. 9",
    /// MAPPED or UNWRITTEN without an address.
    AddressMissing = "4.5 rule 6, 9 no. 9",
    /// HOLE, DELALLOC or INLINE with a device or an address.
    PlaceGiven = "4.5 rule 6, 9 no. 9",
    /// PURE_OVERWRITE as the read mapping.
    PureOverwriteAsRead = "4.5 rule 7, 9 no. 11",
    /// addr + length overflows.
    AddressOverflow = "4.5 rule 8, 9 no. 8",
    /// NOCACHE in a BEGIN reply.
    NocacheInReply = "4.5 rule 9, 9 no. 12",
    /// A mapping that does not contain the position asked for.
    PositionNotCovered = "4.5 rule 10, 9 no. 14",
    /// RETRY_CACHE for an operation that is never cached.
    RetryUncacheable = "4.5 rule 11, 9 no. 13",
    /// RETRY_CACHE in `write` only.
    RetryOnlyInWrite = "5.5, 9 no. 13",
    /// An answer to an untorn write that is no place for one.
    AtomicReply = "4.5 rule 12, 9 no. 17",
    /// A device id that was not registered.
    UnknownDevice = "4.5 rule 13, 9 no. 10",
    /// A device opened in a way that does not allow the access.
    DeviceMode = "4.5 rule 13, 9 no. 10",
    /// HOLE for a direct write or writeback.
    HoleForWrite = "4.5, 9 no. 15",
    /// DELALLOC for direct I/O or writeback.
    DelallocForIo = "4.5, 9 no. 15",
    /// INLINE for writeback.
    InlineForWriteback = "4.5, 9 no. 15",
    /// RETRY_CACHE again and again without a mapping that can be used.
    RetryLimit = "5.5, 9 no. 13",
    /// RETRY_CACHE in an upsert.
    RetryInUpsert = "5.3 check 8, 9 no. 12",
    /// An upsert behind the device's end.
    BeyondDevice = "5.3 check 15, 9 no. 10",
    /// A notification of another length than its kind has.
    NotifyLength = "5.3 check 1, 10.2",
    /// A notification of iomap's on a connection without it.
    NotifyWithoutIomap = "5.3 check 2",
    /// A notification for a node that is not in core.
    NodeUnknown = "5.3 check 3, 9 no. 23",
    /// A notification with another inode's number.
    ForeignAttrIno = "5.3 check 4, 9 no. 23",
    /// Mappings for an inode without iomap.
    NodeWithoutIomap = "5.3 check 6",
    /// INVAL_MAPPINGS: a range that starts too far.
    InvalBeyondMaxbytes = "5.4, 9 no. 25",
    /// INVAL_MAPPINGS: an unaligned range.
    InvalAlignment = "5.4, 9 no. 25",
    /// INVAL_MAPPINGS: a range that wraps.
    InvalOverflow = "5.4, 9 no. 25",
    /// DEV_INVAL with a field that cannot be.
    DevInval = "2.4, 9 no. 25",
    /// INVAL_INODE with a data range while a request that locks it waits for the server.
    NotifyDeadlock = "6.2, 9 no. 26",
    /// STORE or RETRIEVE on an iomap inode.
    StoreOnIomap = "10.2, 9 no. 26",
    /// A notification of a kind nobody knows.
    NotifyUnknown = "10.2",
    /// A reply of a length its request does not have.
    ReplyLength = "4.1, 9 no. 19",
    /// A reply with an error and a body.
    ErrorWithBody = "4.1, 9 no. 19",
    /// An error outside -511 to 0.
    ErrorRange = "4.1, 9 no. 19",
    /// A reply on another channel than its request's.
    ReplyChannel = "4.1, 9 no. 19",
    /// A reply nobody waits for.
    ReplyUnknown = "4.1",
    /// A request that was not answered in time.
    Unanswered = "6.1",
    /// `newsize` below the size known to be recorded.
    NewsizeShrinks = "4.8, 9 no. 20",
    /// `newsize` does not cover what was written.
    NewsizeTooSmall = "4.8",
    /// A size update although the I/O failed.
    NewsizeOnError = "4.8, 9 no. 20",
    /// ENOSYS to IOEND.
    IoendEnosys = "4.8, 9 no. 21",
    /// ENOSYS to CONFIG is legal, but BACKING_OPEN and the like were refused.
    IoctlRefused = "1.2, 2.2",
}
