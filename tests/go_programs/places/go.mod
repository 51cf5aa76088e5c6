module goheapd.test/places

go 1.19
