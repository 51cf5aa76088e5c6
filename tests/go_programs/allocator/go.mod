module goheapd.test/allocator

go 1.19
