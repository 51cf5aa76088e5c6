module goheapd.test/forks

go 1.19
