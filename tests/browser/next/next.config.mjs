// The page and the chat server are one origin: Next.js passes on what is for the server, and strips the path's last slash
// on its way.
const server = process.env.CHAT_SERVER_URL;

export default {
  // Without it Next.js redirects /socket.io/ to /socket.io, which costs polling a round trip each time and which no
  // websocket follows.
  skipTrailingSlashRedirect: true,
  turbopack: { root: import.meta.dirname },
  distDir: process.env.NEXT_DIST_DIR ?? ".next",
  async rewrites() {
    return [{ source: "/socket.io/:path*", destination: `${server}/socket.io/:path*` }];
  },
};
