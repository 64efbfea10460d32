"""What tests share: brokers, browser, promtool, whole programs, an independent truth of journeys."""
