import type { NextConfig } from "next";

const config: NextConfig = {
  // A lock file further up would make that folder the root.
  turbopack: { root: import.meta.dirname },
};

export default config;
