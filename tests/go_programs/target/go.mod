module goheapd.test/target

go 1.19
