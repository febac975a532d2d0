"""What tests share: recordings, servers, terminals and drivers."""
