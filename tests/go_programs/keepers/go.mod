module goheapd.test/keepers

go 1.19
