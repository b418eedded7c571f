"""One load: what to ask for (`plan`, `priority`), whether it may be asked (`budget`, `breaker`,
`vendor`), what is kept of the answers (`keep`, `splits`), and what is told of it (`answer`)."""
