// The entry of the orders' chunk: what the router asks for by name, so that one file holds all of its pages.
export { ConfirmationPage } from './confirmation-page';
export { OrderPage } from './order-page';
export { OrdersPage } from './orders-page';
