import { Nothing } from "@/components/Messages";

export default function Page() {
  return <Nothing />;
}
