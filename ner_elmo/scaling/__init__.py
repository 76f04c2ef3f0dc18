"""More text than one machine tags in time: input cut into pieces, actors that tag them, an output shard for each."""
